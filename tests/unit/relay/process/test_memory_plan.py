"""The limit of the control group, on trees as kernels and container runtimes lay them out, and what is made of it."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.process.memory_plan import (
    BODY_COST,
    CONNECTION_BYTES,
    LEAST_BODIES,
    LEAST_CONNECTIONS,
    SHIPPER_BYTES,
    SUPERVISOR_BYTES,
    TLS_CONNECTION_BYTES,
    USABLE_PART,
    WORKER_BYTES,
    memory_limit,
    memory_plan,
)
from relay.settings import MIB, Settings

NO_LIMIT_V1 = "9223372036854771712\n"
POD = "/kubepods.slice/kubepods-burstable.slice/pod1/container1"

TREES: dict[str, tuple[dict[str, str], int | None]] = {
    "v2, in a namespace of its own": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"},
        512 * MIB,
    ),
    "v2, no limit": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
        None,
    ),
    "v2, the root of the system has no file": ({"proc/self/cgroup": "0::/\n"}, None),
    "v2, on the host, the pod limits its container": (
        {
            "proc/self/cgroup": f"0::{POD}\n",
            f"sys/fs/cgroup{POD}/memory.max": "max\n",
            "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod1/memory.max": "268435456",
            "sys/fs/cgroup/kubepods.slice/memory.max": "17179869184\n",
        },
        256 * MIB,
    ),
    "v2, the path leads out of the namespace": (
        {"proc/self/cgroup": "0::/../../pod1/container1\n", "sys/fs/cgroup/memory.max": "99\n"},
        99,
    ),
    "v1, in a container that sees the host's path": (
        {
            "proc/self/cgroup": f"5:devices:{POD}\n4:memory:{POD}\n1:cpu,cpuacct:{POD}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
        },
        512 * MIB,
    ),
    "v1, on the host": (
        {
            "proc/self/cgroup": f"4:hugetlb,memory:{POD}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
            f"sys/fs/cgroup/memory{POD}/memory.limit_in_bytes": "134217728\n",
        },
        128 * MIB,
    ),
    "v1, no limit": (
        {
            "proc/self/cgroup": "4:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
        },
        None,
    ),
    "both, memory still under v1": (
        {
            "proc/self/cgroup": f"4:memory:{POD}\n0::/\n",
            f"sys/fs/cgroup/memory{POD}/memory.limit_in_bytes": "134217728\n",
            "sys/fs/cgroup/unified/cgroup.procs": "1\n",
        },
        128 * MIB,
    ),
    "both, memory under v2": (
        {
            "proc/self/cgroup": "1:name=systemd:/\n0::/pod1\n",
            "sys/fs/cgroup/unified/pod1/memory.max": "134217728\n",
        },
        128 * MIB,
    ),
    "no /proc": ({"sys/fs/cgroup/memory.max": "134217728\n"}, 128 * MIB),
    "nothing": ({}, None),
    "something else": (
        {"proc/self/cgroup": "what is this\n\n", "sys/fs/cgroup/memory.max": "much\n"},
        None,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_the_limit_is_the_smallest_that_applies(tmp_path: Path, name: str) -> None:
    files, expected = TREES[name]
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert memory_limit(tmp_path) == expected


def settings(**changes: int) -> Settings:
    return Settings(tenant_uid="uid-1", document_public_keys="", **changes)  # type: ignore[arg-type]


@example(limit=149_130_875, workers=3, tls=True)  # a few bytes beyond what processes take
@given(limit=st.integers(32 * MIB, 64 * 1024 * MIB), workers=st.integers(1, 16), tls=st.booleans())
def test_what_callers_can_make_the_relay_hold_stays_below_the_limit(
    limit: int, workers: int, tls: bool
) -> None:
    plan = memory_plan(settings(workers=workers), limit, tls=tls)
    bodies = BODY_COST * plan.max_buffered_bytes + plan.max_body_bytes
    connections = plan.max_connections * (TLS_CONNECTION_BYTES if tls else CONNECTION_BYTES)
    least = LEAST_BODIES * (BODY_COST + 0.5) + LEAST_CONNECTIONS * TLS_CONNECTION_BYTES
    held = max(least, bodies + connections + plan.max_cached_head_bytes)
    processes = SUPERVISOR_BYTES + WORKER_BYTES * (workers - 1)
    assert held * workers + processes <= max(limit, least * workers + processes)
    # a body that would never find room is refused for its size at once
    assert plan.max_body_bytes <= plan.max_buffered_bytes // 2


def test_a_default_pod_takes_bodies_of_the_default_size() -> None:
    plan = memory_plan(settings(), 512 * MIB, tls=False)
    assert plan.max_body_bytes == settings().max_body_bytes
    assert plan.max_buffered_bytes > 5 * plan.max_body_bytes
    assert plan.max_connections > 5000


def test_nothing_becomes_more_than_the_settings_say() -> None:
    plan = memory_plan(
        settings(max_connections=10, max_body_bytes=MIB), 1024 * 1024 * MIB, tls=True
    )
    assert plan.settings == {
        "max_buffered_bytes": settings().max_buffered_bytes,
        "max_body_bytes": MIB,
        "max_connections": 10,
        "max_cached_head_bytes": settings().max_cached_head_bytes,
    }


def test_a_small_pod_refuses_what_it_cannot_hold() -> None:
    plan = memory_plan(settings(), 96 * MIB, tls=False)
    assert plan.max_body_bytes < 8 * MIB
    assert plan.max_connections >= LEAST_CONNECTIONS


def test_what_delivers_to_a_ledger_has_its_memory_apart() -> None:
    plain = Settings(tenant_uid="uid", document_public_keys="key")
    recording = plain.model_copy(update={"ledger_url": "http://ledger:8090"})
    least = SUPERVISOR_BYTES + 64 * MIB
    without = memory_plan(plain, least, tls=False)
    beside = memory_plan(recording, least + round(SHIPPER_BYTES / USABLE_PART), tls=False)
    assert abs(beside.max_buffered_bytes - without.max_buffered_bytes) < MIB
    assert memory_plan(recording, least, tls=False).max_buffered_bytes < without.max_buffered_bytes
