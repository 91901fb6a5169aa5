"""Layers from Debian packages: the base with Python, Prometheus, busybox and pause."""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError, ToolMissing
from tests.cluster.images import layers
from tests.cluster.images.archive import Layer

RECIPE = Path(__file__).read_bytes()
"""This file is the first input of the layers it makes."""
SUITE = "bookworm"
BASE_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "ca-certificates")
PYTHON = "usr/bin/python3.11"
STANDARD_LIBRARY = "usr/lib/python3.11"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

KEPT = (
    "lib/*-linux-gnu",
    "lib64",
    "usr/lib/*-linux-gnu",
    STANDARD_LIBRARY,
    "usr/lib/ssl",
    "usr/bin/python3",
    PYTHON,
    "usr/share/doc/*/copyright",
    "etc/ssl/openssl.cnf",
    "etc/ld.so.conf.d",
    "etc/python3.11",
    "etc/mime.types",
)
"""Files of the packages that a Python program needs: no shell, package manager, perl or openssl command."""

DROPPED = (
    "usr/lib/*-linux-gnu/gconv",
    "usr/lib/*-linux-gnu/perl-base",
    f"{STANDARD_LIBRARY}/lib2to3",
    f"{STANDARD_LIBRARY}/pydoc_data",
    f"{STANDARD_LIBRARY}/test",
)

ACCOUNTS = (("root", 0), ("relay", 65532), ("nobody", 65534))
CERTIFICATES = "usr/share/ca-certificates"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
PACKAGES = "usr/share/doc/packages"
"""A line `NAME VERSION ARCHITECTURE` for each package that the base is taken from."""
_ARCHIVES = "var/cache/apt/archives"


def architecture() -> str:
    """Returns the name of this machine's architecture in Debian and OCI."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise ToolMissing(f"images can be built on {', '.join(ARCHITECTURES)}, this is {machine}")
    return ARCHITECTURES[machine]


def base_key() -> str:
    return layers.key("base", RECIPE, architecture().encode())


def base_layer() -> Layer:
    """Builds Debian's Python with its libraries and the certificate bundle.

    It is byte-compiled, because a container with a read-only root cannot cache compiled files.
    """
    return layers.cached(base_key(), _build_base)


def _build_base(tree: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="packages.") as work:
        unpacked = _unpack(BASE_PACKAGES, Path(work))
        _select(unpacked, tree, KEPT)
        bundle = [path.read_bytes() for path in sorted((unpacked / CERTIFICATES).rglob("*.crt"))]
        # in place of the package's maintainer script, which does not run for an unpacked tree
        layers.put_file(tree / BUNDLE, b"".join(bundle))
        layers.copy_file(unpacked / PACKAGES, tree / PACKAGES, mode=0o644)
    _write_accounts(tree)
    for name in ("proc", "sys", "dev", "run", "var/lib", "home"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    layers.readable_by_all(tree)
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)
    compile_python(tree, f"/{STANDARD_LIBRARY}")


def _unpack(packages: Sequence[str], work: Path) -> Path:
    """Unpacks these packages of SUITE and their dependencies; runs no maintainer scripts."""
    archive, unpacked = work / "root.tar", work / "root"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"]
    # no package is configured, so that dpkg knows none: what was unpacked is told by what was fetched
    shown = "${Package} ${Version} ${Architecture}\\n"
    each = f"dpkg-deb --show --showformat='{shown}' \"$one\""
    listing = f'mkdir -p "$1/usr/share/doc"; for one in "$1"/{_ARCHIVES}/*.deb; do {each}; done > "$1/{PACKAGES}"'
    command.append(f"--extract-hook={listing}")
    run([*command, SUITE, str(archive)], f"unpacking Debian {SUITE}'s {', '.join(packages)}")
    unpack_tar(archive, unpacked)
    return unpacked


def unpack_tar(archive: Path, directory: Path) -> None:
    """Creates directory with the archive's files, without device nodes: the container runtime makes those."""
    directory.mkdir()
    command = ["tar", "--extract", f"--file={archive}", f"--directory={directory}"]
    run([*command, "--no-same-owner", "--exclude=./dev/*"], f"unpacking {archive.name}")


def _select(unpacked: Path, tree: Path, kept: Sequence[str]) -> None:
    for pattern in kept:
        for source in sorted(unpacked.glob(pattern)):
            target = tree / source.relative_to(unpacked)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy2(source, target, follow_symlinks=False)
    for pattern in DROPPED:
        for path in tree.glob(pattern):
            shutil.rmtree(path)


def _write_accounts(tree: Path) -> None:
    passwd = "".join(f"{name}:x:{uid}:{uid}::/:/sbin/nologin\n" for name, uid in ACCOUNTS)
    group = "".join(f"{name}:x:{uid}:\n" for name, uid in ACCOUNTS)
    layers.put_file(tree / "etc/passwd", passwd.encode())
    layers.put_file(tree / "etc/group", group.encode())
    layers.put_file(tree / "etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")


def compile_python(root: Path, directory: str) -> None:
    """Byte-compiles every module below directory (a path inside root) with root's own Python, without time stamps."""
    command = ["chroot", str(root), f"/{PYTHON}", "-I", "-m", "compileall", "-q", "-q"]
    # unchecked: the files cannot change, and a check would cost a read of each source at every start
    command += ["--invalidation-mode", "unchecked-hash", directory]
    run(command, f"compiling {directory}", allowed=(0, 1))


def prometheus_layer() -> Layer:
    """Builds Prometheus and promtool of Debian with the consoles of their defaults, for use on top of the base."""
    return layers.cached(
        layers.key("prometheus", RECIPE, architecture().encode()), _build_prometheus
    )


PROMETHEUS_KEPT = (
    "usr/bin/prometheus",
    "usr/bin/promtool",
    "usr/share/prometheus",
    "etc/prometheus",
    "usr/share/doc/prometheus/copyright",
)


def _build_prometheus(tree: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="packages.") as work:
        # its web pages need fonts and scripts of other packages, which are left out; the API does not
        _select(_unpack(("prometheus",), Path(work)), tree, PROMETHEUS_KEPT)
    layers.readable_by_all(tree)
    # the default storage path, for running without a volume
    (tree / "prometheus").mkdir()
    (tree / "prometheus").chmod(0o1777)


def pause_layer() -> Layer:
    """Builds catatonit as /pause: it sleeps, reaps, and ends at once on SIGTERM."""
    binary = _host_file("catatonit", "/usr/bin/catatonit")

    def build(tree: Path) -> None:
        layers.copy_file(binary, tree / "pause", mode=0o755)

    return layers.cached(layers.key("pause", binary.read_bytes()), build)


def busybox_layer() -> Layer:
    """Builds a shell and its tools for probing from inside a pod. The base under it has the C library for names."""
    return layers.cached(layers.key("busybox", RECIPE, architecture().encode()), _build_busybox)


def _build_busybox(tree: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="packages.") as work:
        unpacked = _unpack(("busybox",), Path(work))
        _select(unpacked, tree, ("bin/busybox", "usr/share/doc/busybox/copyright"))
        listed = run(["chroot", str(unpacked), "/bin/busybox", "--list"], "asking busybox")
    for applet in listed.split():
        link = tree / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    layers.readable_by_all(tree)


def _host_file(package: str, path: str) -> Path:
    if not Path(path).is_file():
        raise ToolMissing(f"{path} is missing: apt-get install {package}")
    return Path(path)


def run(
    command: Sequence[str],
    purpose: str,
    *,
    cwd: str | Path | None = None,
    allowed: tuple[int, ...] = (0,),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs a command and returns its output; raises ClusterError with the end of its error output."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolMissing(f"{purpose} needs {command[0]}, which is not installed") from error
    if done.returncode not in allowed:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise ClusterError(f"{purpose} failed with exit code {done.returncode}:\n{said}")
    return done.stdout
