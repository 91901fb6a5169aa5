"""Directories on this machine.

The cache (binaries, image layers) is the user's and may sit on any filesystem. The state of running clusters may not:
containerd's overlay snapshots need a filesystem that overlayfs can write to, and a control socket's path may not
exceed 107 bytes (unix(7)), so it has a short fixed home that only root can enter.
"""

import os
import pwd
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).resolve().parent

DEFAULT_STATE = Path("/var/lib/relay-operator-clusters")


def home() -> Path:
    """Returns the user's home directory, also if HOME is not set."""
    return Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def cache_root() -> Path:
    """Returns RELAY_CACHE, or relay-operator below the XDG cache directory (XDG Base Directory Specification 0.8)."""
    chosen = os.environ.get("RELAY_CACHE")
    if chosen:
        return Path(chosen).absolute()
    # the specification tells readers to ignore a relative XDG_CACHE_HOME
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else home() / ".cache") / "relay-operator"


def binaries_root() -> Path:
    return cache_root() / "binaries"


def layers_root() -> Path:
    return cache_root() / "layers"


def state_root() -> Path:
    """Returns the parent of the clusters' state directories: RELAY_CLUSTERS or the default."""
    return Path(os.environ.get("RELAY_CLUSTERS") or DEFAULT_STATE)
