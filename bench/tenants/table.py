"""Tells the figures as a table, a column a size, and as one line."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.rollback.figures import quantile
from bench.tenants.measures import Figures, milliseconds


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:.0f}"


def _seconds(count: float) -> str:
    return f"{count:.0f}" if count else "-"


ROWS: Final[Sequence[tuple[str, Callable[[Figures], str]]]] = (
    (
        "brought up by the operator / filled in as copies",
        lambda one: f"{one.grown} / {one.tenants - one.grown}",
    ),
    ("time to settle those brought up, s", lambda one: _seconds(one.settle_seconds)),
    ("leader's CPU for that, s", lambda one: _seconds(one.settle_cpu_seconds)),
    ("time to fill in the others, s", lambda one: _seconds(one.fill_seconds)),
    ("operators started after that, to all looked at, s", lambda one: _seconds(one.adopt_seconds)),
    ("leader's CPU until quiet, s", lambda one: _seconds(one.adopt_cpu_seconds)),
    (
        "writes in that time",
        lambda one: f"{sum(one.adopt_writes.values())}" if one.adopt_cpu_seconds else "-",
    ),
    ("leader at rest, % of a core", lambda one: f"{one.rest_core_percent:.2f}"),
    ("leader, MiB", lambda one: _mebibytes(one.resident_bytes)),
    ("standby at rest, % of a core", lambda one: f"{one.standby_core_percent:.2f}"),
    ("standby, MiB", lambda one: _mebibytes(one.standby_resident_bytes)),
    ("change to first child, idle, ms, p50 / p99", lambda one: milliseconds(one.changes_idle)),
    ("the same in a full resync", lambda one: milliseconds(one.changes_busy)),
    ("100 canaries, % of a core more", lambda one: f"{one.canary_core_percent:.2f}"),
    ("restart to all looked at, s", lambda one: f"{one.restart_seconds:.0f}"),
    ("writes after a restart", lambda one: f"{sum(one.restart_writes.values())}"),
    ("100 turn bad in a resync, ms to 0 %, p50 / p99", lambda one: milliseconds(one.bad_seconds)),
    ("API server at rest, % of a core", lambda one: f"{one.api_server_core_percent:.1f}"),
    ("API server, MiB", lambda one: _mebibytes(one.api_server_bytes)),
    ("etcd, MiB", lambda one: _mebibytes(one.stored_bytes)),
    ("load of the machine (15 min)", lambda one: f"{one.load:.1f}"),
)


def of(found: Sequence[Figures]) -> str:
    """Returns the table."""
    head = f"| tenants | {' | '.join(str(one.tenants) for one in found)} |"
    lines = [f"| {name} | {' | '.join(map(told, found))} |" for name, told in ROWS]
    return "\n".join([head, f"|---|{'---|' * len(found)}", *lines])


def summary(one: Figures) -> str:
    """Returns the figures of one size for machines."""
    parts = {
        "tenants": f"{one.tenants}",
        "filled": f"{one.tenants - one.grown}",
        "settle_s": f"{one.settle_seconds:.0f}",
        "rest_core_percent": f"{one.rest_core_percent:.2f}",
        "mib": _mebibytes(one.resident_bytes),
        **_both("idle", one.changes_idle),
        **_both("resync", one.changes_busy),
        "canaries_core_percent": f"{one.canary_core_percent:.2f}",
        "restart_writes": f"{sum(one.restart_writes.values())}",
        **_both("to_zero", one.bad_seconds),
    }
    return "tenants: " + " ".join(f"{name}={value}" for name, value in parts.items())


def _both(name: str, seconds: Sequence[float]) -> dict[str, str]:
    if not seconds:
        return {}
    return {
        f"{name}_p50_ms": f"{1000 * quantile(seconds, 0.5):.0f}",
        f"{name}_p99_ms": f"{1000 * quantile(seconds, 0.99):.0f}",
    }
