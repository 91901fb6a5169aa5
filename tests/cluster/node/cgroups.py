"""cgroup directories of a cluster: one per hierarchy, created before it starts and removed after it ended.

cgroup v1 mounts one hierarchy per controller (and perhaps an empty v2 one at `unified`, in which runc creates
directories too); cgroup v2 is a single hierarchy.
"""

import os
import time
from pathlib import Path

from tests.cluster.errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
NEEDED = frozenset({"cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer"})
NEEDED_V2 = frozenset({"cpu", "cpuset", "memory", "pids"})
REMOVAL_SECONDS = 10.0


def is_unified(root: Path = ROOT) -> bool:
    """Returns whether the machine has cgroup v2 alone."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Returns every mounted hierarchy once (cpu and cpuacct may be two links to one directory)."""
    if is_unified(root):
        return [root]
    found = (path for path in root.iterdir() if path.is_dir() and (path / "cgroup.procs").exists())
    return sorted({path.resolve() for path in found})


def missing_controllers(root: Path = ROOT) -> frozenset[str]:
    """Returns the controllers that a node needs and this machine lacks."""
    if is_unified(root):
        return NEEDED_V2 - set((root / "cgroup.controllers").read_text().split())
    mounted = {path.name for path in root.iterdir() if (path / "cgroup.procs").exists()}
    return NEEDED - {part for name in mounted for part in name.split(",")}


def create(name: str, root: Path = ROOT) -> None:
    """Creates a directory of this name in every hierarchy, in which containers can be started."""
    try:
        _create(name, root)
    except OSError as error:
        raise ClusterError(
            f"cannot make the cgroups {name}: {error.strerror} ({error.filename}); "
            "inside a container they must be writable and delegated"
        ) from error


def _create(name: str, root: Path) -> None:
    for hierarchy in hierarchies(root):
        directory = hierarchy / name
        directory.mkdir(exist_ok=True)
        if (hierarchy / "cpuset.cpus").exists() and not is_unified(root):
            # a new v1 cpuset is empty, and an empty cpuset takes no process
            for file in ("cpuset.cpus", "cpuset.mems"):
                (directory / file).write_text((hierarchy / file).read_text())
    if is_unified(root):
        wanted = " ".join(f"+{controller}" for controller in sorted(NEEDED_V2))
        (root / "cgroup.subtree_control").write_text(wanted)


def remove(name: str, root: Path = ROOT) -> None:
    """Removes the directory of this name from every hierarchy; waits for its last processes, which must be ending."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    for hierarchy in hierarchies(root):
        while (hierarchy / name).exists():
            _remove_empty(hierarchy / name)
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"cannot remove {hierarchy / name}: processes in it do not end (see its cgroup.procs)"
                )
            time.sleep(0.01)


def left(name: str, root: Path = ROOT) -> list[Path]:
    """Returns the directories of this name that exist."""
    return [path for hierarchy in hierarchies(root) if (path := hierarchy / name).exists()]


def _remove_empty(top: Path) -> None:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            # busy until the last process is gone; the caller tries again
            continue
