"""What a pod's memory is for: its limit, read from the control group, divided between bodies, connections and heads.

The kernel kills a container that reaches its limit, with every call in it. What callers can make the relay hold is bounded
below that, so that they are refused first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.process.allocator import KEPT_BYTES
from relay.settings import MIB, Settings
from relay.tools.idempotency.remembered_calls import MOST_BYTES

UNLIMITED: Final = 2**60
"""cgroup v1 says "no limit" by the largest number it can hold, less what rounding takes."""

USABLE_PART: Final = 0.9
"""The rest is for what the kernel charges to the container, such as the buffers of sockets."""
SUPERVISOR_BYTES: Final = 65 * MIB + MOST_BYTES
"""The supervisor and one worker without a call, measured 50 to 56 MiB, the free memory that the worker keeps, and calls that are remembered."""
WORKER_BYTES: Final = 24 * MIB + KEPT_BYTES
"""Each further worker, which shares the pages of code and libraries, and the free memory that it keeps."""
SHIPPER_BYTES: Final = 20 * MIB
"""The process that delivers records to a ledger, measured 11 MiB beside the others, and the lines that it has in hand."""

BODIES_PART: Final = 0.65
BODY_COST: Final = 1.25
"""Memory for each byte of a body: the body, and what the allocator and TLS add. Measured: 1.07 to 1.20."""
CONNECTIONS_PART: Final = 0.2
CONNECTION_BYTES: Final = 8 * 1024
TLS_CONNECTION_BYTES: Final = 56 * 1024
"""An idle client connection with its cached head. Measured: 8 kB, and 50 kB with TLS."""
HEADS_PART: Final = 0.05

LEAST_BODIES: Final = 2 * MIB
LEAST_CONNECTIONS: Final = 64


def memory_limit(root: Path = Path("/")) -> int | None:
    """Returns the limit of this process's control group in bytes, the smallest on the way to the root; None without any.

    cgroup v2 (memory.max) and v1 (memory.limit_in_bytes) are read, and both together where a system has both. root is
    where /proc and /sys are; a container sees its own group as the root of /sys/fs/cgroup.
    """
    mounted = root / "sys/fs/cgroup"
    limits = [
        limit
        for hierarchy, path in _groups(root / "proc/self/cgroup")
        for base, name in _places(mounted, hierarchy)
        for limit in _limits(base, path, name)
    ]
    return min(limits, default=None)


def _groups(listing: Path) -> list[tuple[str, str]]:
    """Returns the hierarchies that may limit memory, "" for v2 and "memory" for v1, each with this process's path in it."""
    try:
        lines = listing.read_text().splitlines()
    except OSError:
        return [("", "/"), ("memory", "/")]
    groups: list[tuple[str, str]] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            groups.append(("", path))
        elif "memory" in controllers.split(","):
            groups.append(("memory", path))
    return groups


def _places(mounted: Path, hierarchy: str) -> list[tuple[Path, str]]:
    if hierarchy:
        return [(mounted / "memory", "memory.limit_in_bytes")]
    return [(mounted, "memory.max"), (mounted / "unified", "memory.max")]


def _limits(base: Path, path: str, name: str) -> list[int]:
    """Reads the limits of the group and of those above it; of the mount's root alone where the path is another namespace's."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        parts = []
    folders = [base.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
    read = (_limit(folder / name) for folder in folders)
    return [limit for limit in read if limit is not None]


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    if not text.isdigit() or int(text) >= UNLIMITED:
        return None
    return int(text)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What one worker may hold for callers."""

    max_buffered_bytes: int
    max_body_bytes: int
    max_connections: int
    max_cached_head_bytes: int

    @property
    def settings(self) -> dict[str, int]:
        """Returns the settings by their names."""
        return {
            "max_buffered_bytes": self.max_buffered_bytes,
            "max_body_bytes": self.max_body_bytes,
            "max_connections": self.max_connections,
            "max_cached_head_bytes": self.max_cached_head_bytes,
        }


def memory_plan(settings: Settings, limit: int, *, tls: bool) -> MemoryPlan:
    """Divides the limit; nothing becomes more than the settings say.

    The largest body is held a second time while its pieces are joined, and must leave room for another of its size.
    """
    fixed = SUPERVISOR_BYTES + WORKER_BYTES * (settings.workers - 1)
    if settings.ledger_url is not None:
        fixed += SHIPPER_BYTES
    usable = max(0.0, USABLE_PART * limit - fixed) / settings.workers
    most = BODIES_PART * usable
    whole = min(settings.max_body_bytes, most / (2 * BODY_COST + 1))
    bodies = max(LEAST_BODIES, (most - whole) / BODY_COST)
    buffered = min(settings.max_buffered_bytes, int(bodies))
    each = TLS_CONNECTION_BYTES if tls else CONNECTION_BYTES
    connections = max(LEAST_CONNECTIONS, int(CONNECTIONS_PART * usable / each))
    # where bodies and connections get their least, nothing is left for heads
    beyond_least = max(0.0, usable - LEAST_BODIES * (BODY_COST + 0.5) - LEAST_CONNECTIONS * each)
    return MemoryPlan(
        max_buffered_bytes=buffered,
        max_body_bytes=min(settings.max_body_bytes, buffered // 2),
        max_connections=min(settings.max_connections, connections),
        max_cached_head_bytes=min(settings.max_cached_head_bytes, int(HEADS_PART * beyond_least)),
    )
