"""Records of clusters on disk, and the check that a recorded cluster still runs.

A process is identified by its id, its start time and the machine's boot: the id alone may have been reused.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster import addresses, paths
from tests.cluster.errors import ClusterError

RECORD = "cluster.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PF_EXITING = 0x4
"""include/linux/sched.h: the process has begun to exit."""


@dataclass(frozen=True, slots=True)
class Process:
    """One incarnation of a process. start_ticks counts clock ticks since boot (proc(5), stat field 22)."""

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster as its state directory describes it.

    outer is the unshare process on the host, inner the first process of the namespaces (its id seen from the host);
    both are None until they run. node_labels, feature_gates and dns_domain come from the cluster configuration.
    """

    name: str
    index: int
    binaries: str
    proxy_mode: str = "nftables"
    node_labels: dict[str, str] | None = None
    feature_gates: dict[str, bool] | None = None
    runtime_config: dict[str, str] | None = None
    audit_log: bool = False
    dns_domain: str = addresses.DNS_DOMAIN
    outer: Process | None = None
    inner: Process | None = None

    @property
    def directory(self) -> Path:
        return paths.state_root() / self.name

    @property
    def audit_log_path(self) -> Path:
        """The API server's log of what pods change, one JSON event a line; only with audit_log."""
        return self.directory / "logs" / "audit.log"

    @property
    def node_name(self) -> str:
        """The name that kind gives to the node of a cluster."""
        return f"{self.name}-control-plane"

    @property
    def cgroup(self) -> str:
        """The cluster's own cgroup root: with a shared one, kubelets kill each other's pods as orphans."""
        return f"rk-{self.name}"


def to_text(record: ClusterRecord) -> str:
    return json.dumps(asdict(record), indent=1) + "\n"


def from_text(text: str) -> ClusterRecord:
    """Parses a record; raises ValueError for anything else, such as a truncated file."""
    content: Any = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("a cluster record is a JSON object")
    for role in ("outer", "inner"):
        if content.get(role) is not None:
            content[role] = Process(**content[role])
    try:
        return ClusterRecord(**content)
    except TypeError as error:
        raise ValueError(f"not a cluster record: {error}") from error


def write(record: ClusterRecord) -> None:
    path = record.directory / RECORD
    temporary = path.with_suffix(".unfinished")
    temporary.write_text(to_text(record))
    temporary.replace(path)


def read(name: str) -> ClusterRecord | None:
    """Returns the record of a cluster, None if there is none or it cannot be parsed."""
    try:
        return from_text((paths.state_root() / name / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except PermissionError as error:
        raise _not_root() from error


def known_names() -> list[str]:
    """Returns every name with a state directory, running or not."""
    root = paths.state_root()
    if not root.is_dir():
        return []
    try:
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
    except PermissionError as error:
        raise _not_root() from error
    # directories of the doctor's checks begin with a dot; names of clusters cannot
    return [name for name in found if not name.startswith(".")]


def _not_root() -> ClusterError:
    return ClusterError(
        f"the state of clusters in {paths.state_root()} belongs to root: run as root"
    )


def running() -> list[ClusterRecord]:
    """Returns the running clusters, sorted by name."""
    records = (read(name) for name in known_names())
    return [record for record in records if record is not None and is_running(record)]


def is_running(record: ClusterRecord) -> bool:
    """Returns whether both processes live and neither has begun to exit."""
    return all(is_alive(p) and not _is_ending(p) for p in (record.outer, record.inner))


@dataclass(frozen=True, slots=True)
class Stat:
    """Fields of /proc/PID/stat: state letter, kernel flags, start in clock ticks since boot."""

    state: str
    flags: int
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """Parses /proc/PID/stat (proc(5)); the command's name may contain spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], flags=int(fields[6]), start_ticks=int(fields[19]))


def identify(pid: int) -> Process | None:
    """Returns the process that has this id now; None if there is none or only its zombie."""
    stat = _stat(pid)
    # where process 1 does not reap (a container's often does not), a dead process stays as a zombie
    if stat is None or stat.state in "ZX":
        return None
    return Process(pid, stat.start_ticks, BOOT_ID.read_text().strip())


def is_alive(process: Process | None) -> bool:
    return process is not None and identify(process.pid) == process


def _is_ending(process: Process | None) -> bool:
    """Returns whether the process has begun to exit.

    The first process of namespaces stays in that state until all others in them are gone.
    """
    stat = _stat(process.pid) if process is not None else None
    return stat is None or bool(stat.flags & PF_EXITING)


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
