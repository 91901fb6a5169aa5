"""Compiles the hot path to machine code when the wheel is built; nothing here runs in a relay.

The sources stay ordinary typed Python and run as they are; compiled by mypyc, a call costs about half the CPU. Three
modules are C, the reading of bodies, the writing of an attempt's records and of most of their lines, each with a stand-in in Python.
RELAY_COMPILE=1 makes the wheel build call this (a hatchling hook) and fail if it cannot; otherwise the
wheel is pure. RELAY_COMPILED names a directory where compile_hot_path has been, of these very sources: the wheel takes what is there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE_ROOT: Final = Path(__file__).resolve().parent
PACKAGES: Final = ("relay", "relay_contract")
"""The packages that a relay imports; the compiler reads the types of both."""
INTERPRETED: Final = {
    "__main__.py": "starts the process",
    "main.py": "starts the process",
    "settings.py": "read once",
    "process": "documents, signals and the admin port; no call passes through it",
    "calls/ledger/ledger_access.py": "a thread for each question to the ledger",
    "dialect/body_scan_pure.py": "stands in for the scan in C where that is not built",
    "dialect/body_texts_pure.py": "stands in for the functions beside it",
    "dialect/parameter_removal_pure.py": "stands in for a part of it in the same way",
    "http/connecting/client_identity.py": "reads files once a second",
    "http/connecting/proxy_tunnel.py": "a coroutine for each connection through a proxy",
    "http/connecting/resolver.py": "a coroutine for each look-up of a name",
    "http/tls.py": "once for each document or certificate",
    "outbox/plain_lines_pure.py": "leaves all lines to what writes the others",
    "outbox/record_writing_pure.py": "stands in for the functions in C where those are not built",
}
"""Modules and rooms of the relay that stay Python, and why."""


def hot_path() -> tuple[str, ...]:
    """Returns the compiled modules as paths relative to the package relay: everything that INTERPRETED does not name.

    They are compiled as one group, so that calls between them are C calls.
    """
    package = SOURCE_ROOT / "relay"
    found = (path.relative_to(package) for path in sorted(package.rglob("*.py")))
    return tuple(
        str(path) for path in found if path.name != "__init__.py" and not is_interpreted(path)
    )


def is_interpreted(path: Path) -> bool:
    """Returns whether INTERPRETED names the module or a room around it. path is relative to the package relay."""
    return any(str(part) in INTERPRETED for part in (path, *path.parents))


DIRECT_CALLS: Final = "-fno-semantic-interposition -fno-plt"
"""Flags for the compiler: nobody replaces a function of the shared object, so that calls between them are direct or inlined."""
_TYPES: Final = "[mypy]\nstrict = True\nignore_missing_imports = True\n"


BODY_SCAN: Final = "relay.dialect._body_scan"
"""Reads request bodies, and what most answers report."""
RECORD_WRITING: Final = "relay.outbox._record_writing"
"""Writes the ledger's records of an attempt."""
PLAIN_LINES: Final = "relay.outbox._plain_lines"
"""Writes most of the lines that records are delivered as."""
EXTENSIONS: Final = (BODY_SCAN, RECORD_WRITING, PLAIN_LINES)
"""The modules in C."""
_EXTENSION_SETUP: Final = """
import sys
from setuptools import Extension, setup
name, *arguments = sys.argv[1:]
source = name.replace(".", "/") + ".c"
flags = {"extra_compile_args": ["-O3"], "py_limited_api": True}
extension = Extension(name, [source], **flags)
setup(name="extension", packages=[], py_modules=[], ext_modules=[extension], script_args=arguments)
"""


class CompilationFailed(Exception):
    """The hot path could not be compiled; the message ends with the last output of the compiler."""


def compile_extension(name: str, target: Path) -> Path:
    """Builds a module in C, whose sources are copied below target; raises CompilationFailed.

    Needs setuptools, a C compiler and Python's headers. Takes about two seconds.
    """
    source = Path(*name.split(".")).with_suffix(".c")
    (target / source.parent).mkdir(parents=True, exist_ok=True)
    for file in (SOURCE_ROOT / source.parent).glob("_*.[ch]"):
        shutil.copyfile(file, target / source.parent / file.name)
    finished = subprocess.run(
        [sys.executable, "-c", _EXTENSION_SETUP, name, "build_ext", "--inplace"],
        cwd=target,
        capture_output=True,
        text=True,
        check=False,
    )
    built = list((target / source.parent).glob(f"{source.stem}.*.so"))
    if finished.returncode or len(built) != 1:
        raise CompilationFailed(f"{source}: {(finished.stdout + finished.stderr)[-2000:]}")
    return built[0]


def compile_hot_path(target: Path) -> list[Path]:
    """Builds the shared objects below target, from a copy of the packages; raises CompilationFailed.

    Needs mypy, setuptools, a C compiler and Python's headers. Takes about a minute on one core.
    """
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(SOURCE_ROOT / package, target / package, ignore=ignored)
    modules = hot_path()
    (target / "mypy.ini").write_text(_TYPES)
    sources = [f"relay/{name}" for name in modules]
    finished = subprocess.run(
        [sys.executable, "-m", "mypyc", *sources],
        cwd=target,
        env={**os.environ, "MYPYC_OPT_LEVEL": "3", "CFLAGS": _compiler_flags()},
        capture_output=True,
        text=True,
        check=False,
    )
    built = shared_objects(target)
    if finished.returncode or len(built) != len(modules) + 1:
        raise CompilationFailed(f"mypyc: {(finished.stdout + finished.stderr)[-2000:]}")
    return [*built, *(compile_extension(name, target) for name in EXTENSIONS)]


def shared_objects(target: Path) -> list[Path]:
    """Returns what compile_hot_path has built below target."""
    return [*sorted((target / "relay").rglob("*.so")), *sorted(target.glob("*.so"))]


def _compiler_flags() -> str:
    """Returns the flags of whoever builds, and ours."""
    return f"{os.environ.get('CFLAGS', '')} {DIRECT_CALLS}".strip()


class HotPathHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the shared objects beside the sources; the wheel is then for this platform only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get("RELAY_COMPILE") != "1":
            return
        known = os.environ.get("RELAY_COMPILED")
        target = Path(known or tempfile.mkdtemp(prefix="relay-hot-path."))
        self._made = None if known else target
        for built in shared_objects(target) if known else compile_hot_path(target):
            build_data["force_include"][str(built)] = str(built.relative_to(target))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if os.environ.get("RELAY_COMPILE") == "1" and self._made is not None:
            shutil.rmtree(self._made)
