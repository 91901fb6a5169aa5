"""make test: the order of its tiers, and what a chosen test makes it build."""

import re
import subprocess
from pathlib import Path

import pytest
from tests import coverage_report
from tests.coverage_report import Count
from tests.tiers import TIERS, Need, chosen_run, full_runs

ROOT = Path(__file__).resolve().parents[3]


def test_the_quickest_tier_runs_first_and_the_real_cluster_last() -> None:
    assert [run.title for run in full_runs(TIERS)] == [
        *(
            "unit",
            "simulation",
            "ledger",
            "chart",
            "image",
            "contract",
            "blackbox",
            "compiled",
            "e2e",
        )
    ]


def test_every_test_belongs_to_a_tier() -> None:
    directories = [ROOT / tier.directory for tier in TIERS]
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
