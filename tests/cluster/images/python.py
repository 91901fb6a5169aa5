"""Layers from this repository: the locked dependencies, the operator's wheel, the provider simulator."""

import configparser
import os
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import paths
from tests.cluster.build import debian_packages
from tests.cluster.errors import ClusterError
from tests.cluster.images import debian, layers
from tests.cluster.images.archive import Layer

RECIPE = Path(__file__).read_bytes()
"""The source of this file: the first input of its layers."""
SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
"""The directory in which Debian's Python looks for packages from elsewhere."""
COMMANDS = "usr/local/bin"
DESCRIPTIONS = "usr/local/share/doc/relay-operator"
"""License and bill of materials."""
PYTHON_VERSION = "3.11"
WHEEL_PLATFORMS = (
    *("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17"),
    "manylinux2014",
)
"""bookworm has glibc 2.36; older tags are compatible (PEP 600)."""
LOCK = "requirements.lock"
SLIMMING = "operator/slim_distributions.py"
SIMULATOR = "tests/simulator"
SIMULATOR_HOME = "opt/simulator"


def dependencies_layer() -> Layer:
    """Builds the packages of the lock file, checked against their hashes and byte-compiled."""
    lock, slimming = (paths.REPOSITORY / file for file in (LOCK, SLIMMING))
    inputs = lock.read_bytes(), slimming.read_bytes()
    key = layers.key("dependencies", RECIPE, *inputs, debian.base_key().encode())
    return layers.cached(key, _build_dependencies)


def _build_dependencies(tree: Path) -> None:
    target = tree / SITE_PACKAGES
    machine = platform.machine()
    platforms = [f"--platform={tag}_{machine}" for tag in WHEEL_PLATFORMS]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
        *("--require-hashes", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={PYTHON_VERSION}", *platforms),
        *(f"--requirement={paths.REPOSITORY / LOCK}", f"--target={target}"),
    ]
    debian.run(command, f"installing {LOCK}")
    _drop_scripts(target)
    command = [sys.executable, str(paths.REPOSITORY / SLIMMING), str(target)]
    debian.run(command, "removing what no process imports")
    _finish(tree, SITE_PACKAGES)


def _drop_scripts(target: Path) -> None:
    """Removes the libraries' scripts, and their hashes: they name the building machine's interpreter."""
    shutil.rmtree(target / "bin", ignore_errors=True)
    for record in target.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith("../../bin/")))


def operator_layer() -> Layer:
    """Builds this checkout's wheel and its commands."""
    # the bill of materials names what is in the layer of the dependencies
    sources = source_digest(("operator", "pyproject.toml", "README.md", "LICENSE", LOCK))
    builder = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    key = layers.key("relay-operator", RECIPE, sources, builder, debian.base_key().encode())
    return layers.cached(key, _build_operator)


def _build_operator(tree: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="wheel.") as work:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        # the build backend is locked with the development tools: nothing is fetched
        command += ["--no-build-isolation", f"--wheel-dir={work}", str(paths.REPOSITORY)]
        compiled = _compiled() if can_compile() else {}
        debian.run(command, "building the relay-operator wheel", environment=compiled)
        (wheel,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as content:
            content.extractall(tree / SITE_PACKAGES)
    (described,) = (tree / SITE_PACKAGES).glob("*.dist-info/entry_points.txt")
    for name, target in console_scripts(described.read_text()).items():
        layers.put_file(tree / COMMANDS / name, launcher(target).encode(), mode=0o755)
    _describe(tree)
    _finish(tree, SITE_PACKAGES)


def _compiled() -> dict[str, str]:
    """Compiles the relay's hot path, or takes what was compiled of these sources; returns what the wheel's build needs to know."""
    command = [sys.executable, "-m", "tests.blackbox.compiled"]
    path = os.pathsep.join((str(paths.REPOSITORY / "operator"), str(paths.REPOSITORY)))
    done = debian.run(
        command,
        "compiling the relay's hot path",
        cwd=paths.REPOSITORY,
        environment={"PYTHONPATH": path},
    )
    return {"RELAY_COMPILE": "1", "RELAY_COMPILED": done.strip()}


def _describe(tree: Path) -> None:
    """Puts the license and the bill of materials where somebody looks for them."""
    layers.copy_file(paths.REPOSITORY / "LICENSE", tree / DESCRIPTIONS / "LICENSE", mode=0o644)
    with tempfile.TemporaryDirectory(prefix="described.") as work:
        for layer, files in (
            (debian.base_layer(), debian.PACKAGES),
            (dependencies_layer(), f"{SITE_PACKAGES}/*.dist-info/*"),
        ):
            command = ["tar", "--extract", f"--file={layer.path}", f"--directory={work}"]
            debian.run([*command, "--wildcards", files], f"reading {files}")
        script = paths.REPOSITORY / "operator" / "bill_of_materials.py"
        command = [sys.executable, str(script), "--distributions"]
        command += [str(tree / SITE_PACKAGES), f"{work}/{SITE_PACKAGES}"]
        command += ["--packages", f"{work}/{debian.PACKAGES}"]
        command += ["--output", str(tree / DESCRIPTIONS / "sbom.cdx.json")]
        debian.run(command, "writing the bill of materials")


def can_compile() -> bool:
    """Returns whether the relay's hot path can be compiled: only the image's version of Python can load it.

    Installs the compiler if so.
    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON_VERSION:
        tell(f"the relay is packed uncompiled: that takes Python {PYTHON_VERSION} on this machine")
        return False
    debian_packages.ensure_compiler(tell)
    tell("compiling the relay's hot path, about 40 s")
    return True


def tell(line: str) -> None:
    """Prints a line to standard error; standard output is for results."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def simulator_layer() -> Layer:
    """Builds the provider simulator of this checkout, started with `python3 -m tests.simulator`."""
    sources = source_digest((SIMULATOR,))
    key = layers.key("simulator", RECIPE, sources, debian.base_key().encode())
    return layers.cached(key, _build_simulator)


def _build_simulator(tree: Path) -> None:
    home = tree / SIMULATOR_HOME
    for source in source_files((SIMULATOR,)):
        layers.copy_file(source, home / source.relative_to(paths.REPOSITORY), mode=0o644)
    if not home.exists():
        raise ClusterError(f"{SIMULATOR} holds no Python file: the simulator cannot be packed")
    _finish(tree, SIMULATOR_HOME)


def console_scripts(entry_points: str) -> dict[str, str]:
    """Parses a wheel's entry_points.txt into command name -> module:function (entry points specification)."""
    parser = configparser.ConfigParser(delimiters=("=",))
    # command names keep their case
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(entry_points)
    return dict(parser["console_scripts"]) if parser.has_section("console_scripts") else {}


def launcher(target: str) -> str:
    """Returns a script that calls module:function with the image's own Python."""
    module, _, function = target.partition(":")
    return (
        f"#!/{debian.PYTHON}\n"
        "import sys\n"
        f"from {module} import {function}\n"
        'if __name__ == "__main__":\n'
        f"    sys.exit({function}())\n"
    )


def source_files(parts: Iterable[str]) -> list[Path]:
    """Returns the files below these parts of the repository, sorted, without caches of interpreters and tools."""
    found: list[Path] = []
    for part in parts:
        path = paths.REPOSITORY / part
        candidates = [path] if path.is_file() else path.rglob("*")
        found += [file for file in candidates if file.is_file() and _is_source(file)]
    return sorted(found)


def _is_source(file: Path) -> bool:
    relative = file.relative_to(paths.REPOSITORY)
    return file.suffix != ".pyc" and not any(
        part == "__pycache__" or part.startswith(".") for part in relative.parts
    )


def source_digest(parts: Iterable[str]) -> bytes:
    """Returns names and contents of the source files, each delimited by its length."""
    digest = bytearray()
    for file in source_files(parts):
        name, content = str(file.relative_to(paths.REPOSITORY)).encode(), file.read_bytes()
        digest += b"%d:%s%d:%s" % (len(name), name, len(content), content)
    return bytes(digest)


def _finish(tree: Path, python_directory: str) -> None:
    """Makes the tree readable for every user and byte-compiles it with the paths that files have in the image."""
    layers.readable_by_all(tree)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="root.") as work:
        root = Path(work) / "root"
        debian.unpack_tar(debian.base_layer().path, root)
        staged = root / python_directory
        staged.parent.mkdir(parents=True, exist_ok=True)
        # compiled in a copy of the image's root, so that the compiled files name their sources as the image does
        (tree / python_directory).rename(staged)
        debian.compile_python(root, f"/{python_directory}")
        staged.rename(tree / python_directory)
