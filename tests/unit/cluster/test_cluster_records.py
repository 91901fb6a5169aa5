"""Records on disk, and telling a running cluster from the remains of an ended one."""

import os
from dataclasses import replace

import pytest
from tests.cluster import cluster_records, paths
from tests.cluster.cluster_records import ClusterRecord, Process


def a_record(**changes: object) -> ClusterRecord:
    record = ClusterRecord(
        name="a",
        index=3,
        binaries="/cache/binaries",
        node_labels={"zone": "x"},
        outer=Process(11, 1000, "boot"),
        inner=Process(12, 1001, "boot"),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def this_process() -> Process:
    found = cluster_records.identify(os.getpid())
    assert found is not None
    return found


@pytest.mark.parametrize("record", [a_record(), a_record(outer=None, inner=None)])
def test_a_record_is_read_back_as_written(record: ClusterRecord) -> None:
    assert cluster_records.from_text(cluster_records.to_text(record)) == record


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "a", "surprise": 1}'])
def test_a_malformed_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error and ours
        cluster_records.from_text(text)


def test_a_process_name_may_contain_spaces_and_parentheses() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert cluster_records.parse_stat(f"7 (a) R) b) S {fields}") == cluster_records.Stat("S", 9, 22)


def test_a_reused_process_id_is_not_the_recorded_process() -> None:
    me = this_process()
    assert cluster_records.is_alive(me)
    assert not cluster_records.is_alive(replace(me, start_ticks=me.start_ticks + 1))
    assert not cluster_records.is_alive(replace(me, boot_id="another boot"))
    assert not cluster_records.is_alive(None)


def test_a_zombie_is_dead() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert cluster_records.identify(child) is None
    finally:
        os.waitpid(child, 0)


def test_a_cluster_runs_while_both_of_its_processes_run() -> None:
    me, gone = this_process(), Process(11, 1, "boot")
    assert cluster_records.is_running(a_record(outer=me, inner=me))
    assert not cluster_records.is_running(a_record(outer=me, inner=gone))
    assert not cluster_records.is_running(a_record(outer=gone, inner=me))
    assert not cluster_records.is_running(a_record(outer=None, inner=None))


def test_directories_without_a_good_record_are_known_but_do_not_run(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_CLUSTERS", str(tmp_path))
    for name in ("cut-short", "empty", "good", ".overlay.trial"):
        (paths.state_root() / name).mkdir()
    (paths.state_root() / "cut-short" / cluster_records.RECORD).write_text('{"name": "cut-')
    (paths.state_root() / ".lock").touch()
    good = a_record(name="good", outer=this_process(), inner=this_process())
    cluster_records.write(good)
    assert cluster_records.known_names() == ["cut-short", "empty", "good"]
    assert cluster_records.running() == [good]
    assert cluster_records.read("cut-short") is None


def test_names_derived_from_the_cluster_are_kinds_where_kind_has_them() -> None:
    record = a_record(name="demo")
    assert record.node_name == "demo-control-plane"
    assert record.cgroup == "rk-demo"
