"""The Debian packages a node is made of, installed where they are missing."""

import contextlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster.errors import ToolMissing

PACKAGES = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "catatonit": "/usr/bin/catatonit",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "iptables": "/usr/sbin/iptables-restore",
    "nftables": "/usr/sbin/nft",
    "conntrack": "/usr/sbin/conntrack",
    "iproute2": "/usr/sbin/ip",
    "util-linux": "/usr/bin/nsenter",
}
"""Package -> a file that exists if it is installed."""

COMPILER = {"gcc": "/usr/bin/gcc", "libc6-dev": "/usr/include/stdio.h"}
"""Packages for compiling the relay's hot path, beside Python's own headers, and a file of each."""
PYTHON_HEADERS = "python3-dev"

SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "--yes", "--quiet")


def missing() -> list[str]:
    return [package for package, file in PACKAGES.items() if not Path(file).exists()]


def ensure(say: Callable[[str], None]) -> None:
    """Installs the packages of a node that are missing, without starting their services."""
    install(missing(), say)


def ensure_compiler(say: Callable[[str], None]) -> None:
    """Installs what compiling against the headers of the running Python takes."""
    wanted = [package for package, file in COMPILER.items() if not Path(file).exists()]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        wanted.append(PYTHON_HEADERS)
    install(wanted, say)


def install(wanted: list[str], say: Callable[[str], None]) -> None:
    """Installs Debian packages; raises ToolMissing with what to do if it cannot."""
    if not wanted:
        return
    listed = " ".join(wanted)
    if shutil.which("apt-get") is None:
        raise ToolMissing(f"this machine has no apt-get; install what Debian calls {listed}")
    if os.geteuid() != 0:
        raise ToolMissing(f"run as root, or first: apt-get install {listed}")
    say(f"installing Debian packages: {listed}")
    with _services_kept_down():
        if not _apt("install", "--no-install-recommends", *wanted):
            # a fresh machine has no package lists yet
            _apt("update")
            if not _apt("install", "--no-install-recommends", *wanted):
                raise ToolMissing(f"apt-get install {listed} failed: see what it printed above")


def _apt(*arguments: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # standard output is for results that callers parse
    with os.fdopen(os.dup(2), "wb") as stderr:
        return not subprocess.run(
            [*APT, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            check=False,
        ).returncode


@contextlib.contextmanager
def _services_kept_down() -> Iterator[None]:
    """Keeps packages from starting their services: containerd's would start one for the whole machine.

    invoke-rc.d(8) runs SERVICE_POLICY first and obeys its exit code.
    """
    if SERVICE_POLICY.exists():
        yield
        return
    SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
    SERVICE_POLICY.chmod(0o755)
    try:
        yield
    finally:
        SERVICE_POLICY.unlink(missing_ok=True)
