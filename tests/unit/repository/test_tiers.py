"""make test: the order of its tiers, and what a chosen test makes it build."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests import coverage_report, second_tries, tier_runs
from tests.coverage_report import Count
from tests.tier_processes import LOWEST, started, started_apart
from tests.tier_runs import Need, Run, Took, run_all, times
from tests.tiers import ALL_TESTS, TIERS, chosen_run, full_runs

ROOT = Path(__file__).resolve().parents[3]
RELAY = Need.COMPILED_RELAY


@pytest.fixture(autouse=True)
def _quick_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the runs of real pytest from importing plugins that their tests do without."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_the_tiers_follow_one_another_but_for_those_that_nothing_waits_for() -> None:
    runs = full_runs(ALL_TESTS)
    assert [run.title for run in runs if not run.beside] == [
        *("unit", "ledger", "contract", "compiled", "e2e", "afterwards"),
    ]
    assert [run.title for run in runs if run.beside] == [
        *("properties", "simulation", "chart", "image"),
    ]


def test_what_is_tried_a_second_time_because_of_clocks_runs_beside_nothing() -> None:
    assert not [tier.name for tier in TIERS if tier.clocks and tier.beside]


def test_no_tier_beside_needs_what_its_environment_would_have_to_name() -> None:
    assert not [run.title for run in full_runs(TIERS) if run.beside and RELAY in run.needs]


def test_a_tier_that_is_left_out_of_all_tests_repeats_the_tests_of_another() -> None:
    left_out = [tier for tier in TIERS if tier not in ALL_TESTS]
    directories = {tier.directory for tier in ALL_TESTS}
    assert [tier.name for tier in left_out] == ["blackbox"]
    assert all(tier.directory in directories for tier in left_out)


def test_every_test_belongs_to_a_tier_of_all_tests() -> None:
    directories = [ROOT / tier.directory for tier in ALL_TESTS]
    astray = [
        str(path)
        for path in (ROOT / "tests").rglob("test_*.py")
        if not any(path.is_relative_to(directory) for directory in directories)
    ]
    assert astray == []
    assert all(list(directory.rglob("test_*.py")) for directory in directories)


@pytest.mark.parametrize(
    "only",
    [
        ["tests/unit"],
        ["tests/unit/cluster/build/test_go_build.py::test_progress_counts_the_programs"],
        ["-k", "limits", "./tests/unit/relay"],
        ["tests/simulation", "tests/unit"],
        ["tests/blackbox/test_queue.py", "-x"],
        [str(ROOT / "tests" / "unit")],
    ],
)
def test_a_chosen_test_without_a_cluster_builds_nothing(only: list[str]) -> None:
    assert chosen_run(only).needs == set()
    assert chosen_run(only).arguments == tuple(only)


@pytest.mark.parametrize(
    "only",
    [
        ["tests/e2e"],
        ["tests/unit", "tests/contract/test_document_publisher.py"],
        ["tests/chart/test_chart.py::test_the_chart_passes_lint"],
        ["tests"],
        ["-k", "limits"],
        ["--lf"],
    ],
)
def test_a_chosen_test_that_may_want_a_cluster_gets_one(only: list[str]) -> None:
    assert Need.CLUSTER in chosen_run(only).needs


def test_a_chosen_test_of_the_ledger_gets_a_database_alone() -> None:
    assert chosen_run(["tests/ledger/test_booking.py"]).needs == {Need.POSTGRESQL}


def made(*arguments: str) -> str:
    """Returns the commands that make would run."""
    command = ["make", "--no-print-directory", "-C", str(ROOT), "--dry-run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_make_hands_only_to_the_tiers_and_checks_the_whole_run_alone() -> None:
    chosen = made("test", "ONLY=tests/unit -k limits")
    assert "tests.tiers --only 'tests/unit -k limits'" in chosen
    assert "mypy" not in chosen
    everything = made("test")
    assert re.search(r"tests\.tiers\s*$", everything)
    assert "mypy" in everything


def test_make_runs_the_relays_suite_against_sources_and_machine_code() -> None:
    assert "--tier blackbox --tier compiled" in made("blackbox")


def test_the_coverage_of_each_room_and_tier_is_told() -> None:
    columns = {
        "unit": {"relay/calls": Count(10, 9), "relay_contract": Count(30, 30)},
        "contract": {"relay/calls": Count(10, 0)},
    }
    lines = [line.split() for line in coverage_report.rendered(columns).splitlines()]
    assert lines == [
        ["branch", "coverage", "unit", "contract"],
        ["relay/calls", "90", "%", "0", "%"],
        ["relay_contract", "100", "%", "-"],
        ["all", "98", "%", "0", "%"],
    ]


def test_a_room_is_a_package_within_its_package() -> None:
    source = ROOT / "operator"
    assert coverage_report.room(source / "relay" / "main.py") == "relay"
    assert coverage_report.room(source / "relay" / "calls" / "exchange.py") == "relay/calls"


def test_all_properties_try_many_examples_in_a_run_of_all_tests() -> None:
    runs = {run.title: run.arguments for run in full_runs(ALL_TESTS)}
    assert all("--hypothesis-profile=thorough" in options for options in runs.values())
    # Hypothesis marks what it runs: each test of the directory is in one of the two
    assert runs["properties"][:1] == runs["unit"][:1] == ("tests/unit",)
    assert runs["properties"][-2:] == ("-m", "hypothesis")
    assert runs["unit"][-2:] == ("-m", "not hypothesis")


def test_a_run_of_all_tests_measures_nothing_and_a_measured_one_follows_one_another() -> None:
    assert not [run.title for run in full_runs(ALL_TESTS) if run.measured]
    measured = full_runs(TIERS, measured=True)
    assert [run.title for run in measured if run.measured] == [
        *("properties", "unit", "ledger", "contract"),
    ]
    assert not [run.title for run in measured if run.beside]
    assert all("--hypothesis-profile=quick" in run.arguments for run in measured)
    assert "--coverage" in made("coverage")


def run_of(title: str, script: str, *, beside: bool = False) -> Run:
    """Returns a run of a small program in place of pytest."""
    return Run(title, ("-c", script), beside=beside, program=("-S",))


def until(path: Path) -> str:
    """Returns the lines of a program that wait for a file."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)\n"


def unending(begun: Path) -> str:
    """Returns a program that prints something, makes a file, and goes on until somebody ends it."""
    return f"import time; print('.F', flush=True); open({str(begun)!r}, 'x'); time.sleep(600)"


def told_after_heading(capfd: pytest.CaptureFixture[str]) -> list[tuple[str, list[str]]]:
    """Returns of each run in turn the lines that were printed after its heading, without its time of beginning."""
    heading = re.compile(r"^--- (\w+): .*? ---\n", re.MULTILINE | re.DOTALL)
    _, *texts = heading.split(capfd.readouterr().out)
    return [
        (title, [line for line in text.splitlines() if not line.endswith(" began")])
        for title, text in zip(texts[::2], texts[1::2], strict=True)
    ]


def test_what_runs_beside_is_told_before_the_last_run_with_the_times(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = tmp_path / "done"
    runs = [
        run_of("first", "print('1 passed')"),
        run_of("beside", f"{until(done)}print('2 passed')", beside=True),
        run_of("second", f"print('3 passed'); open({str(done)!r}, 'w').close()"),
        run_of("last", "print('4 passed')"),
    ]
    assert run_all(runs) == 0
    lines = capfd.readouterr().out.splitlines()
    order = [line.split()[1].rstrip(":") for line in lines if line.startswith("---")]
    assert order == ["first", "second", "beside", "last"]
    assert [line for line in lines if line.endswith("passed")] == [
        f"{number} passed" for number in (1, 3, 2, 4)
    ]
    assert lines[-1] == "4 passed"
    assert sum(line.startswith("time, minutes") for line in lines) == 1


def test_runs_beside_follow_one_another_while_one_alone_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = tmp_path / "done"
    runs = [
        run_of("one", f"open({str(tmp_path / 'one')!r}, 'x').close()", beside=True),
        run_of(
            "two", f"open({str(tmp_path / 'one')!r}).close(); open({str(done)!r}, 'w')", beside=True
        ),
        run_of("alone", until(done)),
        run_of("last", "print('4 passed')"),
    ]
    assert run_all(runs) == 0
    lines = capfd.readouterr().out.splitlines()
    order = [line.split()[1].rstrip(":") for line in lines if line.startswith("---")]
    assert order[0] == "alone"
    assert sorted(order[1:3]) == ["one", "two"]
    assert order[3] == "last"


def test_one_alone_waits_for_those_beside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    over = tmp_path / "over"
    beside = f"import time; time.sleep(0.5); open({str(over)!r}, 'x').close()"
    runs = [
        run_of("beside", beside, beside=True),
        replace(run_of("alone", f"open({str(over)!r}).close()"), alone=True),
        run_of("last", "print('4 passed')"),
    ]
    assert run_all(runs) == 0
    told = capfd.readouterr().out
    assert re.findall(r"^--- (\w+)", told, re.MULTILINE) == ["beside", "alone", "last"]


def test_the_clusters_of_e2e_are_alone() -> None:
    assert [run.title for run in full_runs(ALL_TESTS) if run.alone] == ["e2e"]


def test_none_beside_begins_after_one_that_failed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    runs = [
        run_of("failing", "raise SystemExit(5)", beside=True),
        run_of("next", f"open({str(begun)!r}, 'w').close()", beside=True),
        run_of("last", ""),
    ]
    assert run_all(runs) == 5
    assert not begun.exists()


@pytest.mark.parametrize(("builder", "code"), [("this", 0), ("there_is_no_such_module", 1)])
def test_what_a_run_beside_needs_is_built_before_it_and_a_failure_ends_all(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, builder: str, code: int
) -> None:
    monkeypatch.setitem(tier_runs._BUILDERS, Need.CLUSTER, builder)
    beside = run_of("beside", "print('2 passed')", beside=True)
    runs = [replace(beside, needs=frozenset({Need.CLUSTER})), run_of("last", "print('4 passed')")]
    assert run_all(runs) == code
    told = capfd.readouterr().out.splitlines()
    if code:
        assert any(builder in line for line in told)
        assert "4 passed" not in told
    else:
        assert told.index("Beautiful is better than ugly.") < told.index("2 passed")
        assert told[-1] == "4 passed"


ONE_AT_A_TIME = """
import time
from pathlib import Path
here = Path(__file__).parent
try:
    (here / "busy").touch(exist_ok=False)
except FileExistsError:
    (here / "met").touch()
    raise
while not (here / "released").exists(): time.sleep(0.01)
(here / "busy").unlink()
"""


def test_a_run_beside_waits_for_what_is_built_for_the_others_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one_at_a_time.py").write_text(ONE_AT_A_TIME)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(tier_runs._BUILDERS, Need.CLUSTER, "one_at_a_time")
    cluster = frozenset({Need.CLUSTER})
    release = f"import time; time.sleep(0.3); open({str(tmp_path / 'released')!r}, 'x').close()"
    runs = [
        replace(run_of("beside", "", beside=True), needs=cluster),
        run_of("first", release),
        replace(run_of("last", ""), needs=cluster),
    ]
    assert run_all(runs) == 0
    assert not (tmp_path / "met").exists()


def test_a_run_beside_leaves_the_processors_to_the_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    script = "import os; print('nice', os.nice(0))"
    # it is lowered a moment after it has begun
    wait = f"import os, time; end = time.monotonic() + 30\nwhile os.nice(0) < {LOWEST} and time.monotonic() < end: time.sleep(0.01)\n"
    runs = [
        run_of("beside", wait + script, beside=True),
        run_of("alone", script),
        run_of("last", ""),
    ]
    assert run_all(runs) == 0
    nice = [line for line in capfd.readouterr().out.splitlines() if line.startswith("nice")]
    assert nice == [f"nice {os.nice(0)}", f"nice {LOWEST}"]


def test_what_others_wait_for_takes_the_processors_as_they_do() -> None:
    wait = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    child = started_apart(wait, cwd=ROOT, lowest=True)
    try:
        assert os.getpriority(os.PRIO_PROCESS, child.process.pid) == LOWEST
        child.hurry()
        # none but root may raise what it has lowered
        niceness = os.nice(0) if os.geteuid() == 0 else LOWEST
        assert os.getpriority(os.PRIO_PROCESS, child.process.pid) == niceness
    finally:
        child.end()


def test_what_a_process_and_those_that_it_waited_for_took_of_the_processors_is_known() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\n"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {busy!r}])"
    child = started([sys.executable, "-S", "-c", script], cwd=ROOT, environment=dict(os.environ))
    while not child.has_ended():
        time.sleep(0.01)
    assert child.code == 0
    assert 0.3 <= child.processors < 3


@pytest.mark.parametrize("beside", [False, True])
def test_the_first_run_that_fails_is_told_and_ends_all(
    capfd: pytest.CaptureFixture[str], beside: bool
) -> None:
    runs = [
        run_of("failing", "print('why'); raise SystemExit(3)", beside=beside),
        run_of("last", "print('never')"),
    ]
    assert run_all(runs) == 3
    told = capfd.readouterr().out
    assert "why" in told
    assert "never" not in told


def test_what_is_over_beside_one_that_fails_is_told_and_what_is_not_is_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    runs = [
        run_of("over", "print('2 passed')", beside=True),
        run_of("ended", unending(begun), beside=True),
        run_of("failing", f"{until(begun)}print('1 failed'); raise SystemExit(4)"),
        run_of("last", ""),
    ]
    assert run_all(runs) == 4
    assert told_after_heading(capfd) == [
        ("failing", ["1 failed"]),
        ("over", ["2 passed"]),
        ("ended", [".F", "ended before it was over", "failed: failing (exit code 4)"]),
    ]


def test_what_ran_beside_is_told_where_something_cannot_be_built(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "failing_builder.py").write_text(f"{until(begun)}raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(tier_runs._BUILDERS, Need.POSTGRESQL, "failing_builder")
    runs = [
        run_of("ended", unending(begun), beside=True),
        replace(run_of("without", ""), needs=frozenset({Need.POSTGRESQL})),
        run_of("last", ""),
    ]
    with pytest.raises(subprocess.CalledProcessError):
        run_all(runs)
    assert told_after_heading(capfd) == [
        ("without", []),
        (
            "ended",
            [
                ".F",
                "ended before it was over",
                "failed: without (not built: a server of Debian's PostgreSQL, exit code 3)",
            ],
        ),
    ]


def test_all_that_failed_is_named_last(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    known = tmp_path / "known"
    beside = f"import os; os.symlink(str(os.getpid()), {str(known)!r}); raise SystemExit(3)"
    is_over = f"while os.path.exists('/proc/' + os.readlink({str(known)!r})): time.sleep(0.01)\n"
    until_known = f"import os, time\nwhile not os.path.islink({str(known)!r}): time.sleep(0.01)\n"
    runs = [
        run_of("beside", beside, beside=True),
        run_of("failing", f"{until_known}{is_over}raise SystemExit(4)"),
        run_of("last", ""),
    ]
    assert run_all(runs) == 4
    last = capfd.readouterr().out.splitlines()[-1]
    assert last == "failed: failing (exit code 4), beside (exit code 3)"


def test_times_are_told_by_tier_and_the_sum_is_of_what_ran_alone() -> None:
    took = [
        Took(title="unit", building=0.2, testing=61, processors=90),
        Took(title="simulation", building=0, testing=300, processors=240, beside=True),
        Took(title="chart", building=130, testing=59.9, processors=0.5),
    ]
    assert [line.split() for line in times(took).splitlines()] == [
        ["time,", "minutes", "building", "tests", "processors"],
        ["unit", "-", "1:01", "1:30"],
        ["simulation", "-", "5:00", "4:00", "beside", "the", "others"],
        ["chart", "2:10", "0:59", "-"],
        ["one", "after", "the", "other", "2:10", "2:00", "5:30"],
    ]


UNSTEADY = """
from pathlib import Path

def test_that_fails_once():
    seen = Path(__file__).with_suffix(".seen")
    again, _ = seen.exists(), seen.touch()
    assert again
"""


def run_of_tests(tmp_path: Path, text: str, *, again: bool = True) -> Run:
    """Returns a run of real pytest over one file with this text."""
    path = tmp_path / "test_found.py"
    path.write_text(text)
    options = ("-q", "--rootdir", str(tmp_path), "-c", "/dev/null")
    return Run("clocked", (str(path), *options), again=options if again else None)


def last_run(capfd: pytest.CaptureFixture[str], run: Run) -> tuple[int, str]:
    """Returns the exit code and the output of the run and one after it."""
    code = run_all([run, run_of("last", "print('4 passed')")])
    return code, capfd.readouterr().out


def test_a_test_that_fails_once_is_tried_again_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier_runs, "ROOT", tmp_path)
    code, told = last_run(capfd, run_of_tests(tmp_path, UNSTEADY))
    assert code == 0
    name = "test_found.py::test_that_fails_once"
    assert f"failed once, passed at the second try: {name}\n" in told
    assert told.splitlines()[-1] == "4 passed"


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("def test_that_fails(): assert False", True),
        (UNSTEADY, False),
        (f"{UNSTEADY}\n" + "".join(f"def test_{n}(): assert 0\n" for n in range(3)), True),
        ("import nothing_of_this_name", True),
    ],
    ids=["fails twice", "no second try", "too many", "not collected"],
)
def test_what_fails_twice_or_has_no_second_try_ends_the_run(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    again: bool,
) -> None:
    monkeypatch.setattr(tier_runs, "ROOT", tmp_path)
    code, told = last_run(capfd, run_of_tests(tmp_path, text, again=again))
    assert code > 0
    assert "4 passed" not in told


def test_a_test_whose_rare_failure_is_a_fault_has_no_second_try() -> None:
    assert all((ROOT / path).exists() for path in second_tries.NEVER)
    never = sorted(second_tries.NEVER)[0]
    queue = "tests/blackbox/test_queue.py::test_b"
    assert second_tries.again([f"{never}::test_a", queue]) == ()
    assert second_tries.again([queue]) == (queue,)


def test_a_second_try_is_of_files_but_where_no_test_builds_on_another() -> None:
    assert all((ROOT / path).exists() for path in second_tries.SINGLY)
    story = "tests/e2e/test_canary_stories.py::test_a_canary_is_decided_on[quota]"
    story_of_all = [f"tests/e2e/test_story.py::test_{n}" for n in range(2)]
    assert second_tries.again([story, *story_of_all]) == (story, "tests/e2e/test_story.py")


def test_tiers_of_logic_and_money_have_no_second_try() -> None:
    assert [run.title for run in full_runs(ALL_TESTS) if run.again is not None] == [
        "compiled",
        "e2e",
    ]
