"""The shape of the repository: rules that a type checker cannot see."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FORBIDDEN = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "misc",
    "base",
    "core",
    "manager",
    "managers",
}
PACKAGES = ("relay", "relay_contract", "relay_operator")


def modules() -> list[Path]:
    return [path for root in ("operator", "tests", "bench") for path in (ROOT / root).rglob("*.py")]


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [
        str(path) for path in modules() if path.stem in FORBIDDEN or path.parent.name in FORBIDDEN
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_it_is_for(package: str) -> None:
    undocumented = [
        str(path)
        for path in (ROOT / "operator" / package).rglob("__init__.py")
        if not path.read_text().startswith('"""')
    ]
    assert undocumented == []


def test_the_charts_crds_are_the_crds() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    charts = {
        path.name: path.read_text() for path in (ROOT / "charts/relay-operator/crds").glob("*.yaml")
    }
    assert ours == charts, "run make sync-crds"


def test_our_domain_is_spelled_in_names_alone() -> None:
    elsewhere = [
        str(path)
        for path in (ROOT / "operator").rglob("*.py")
        if path.name != "names.py" and "relay-operator.dev" in path.read_text()
    ]
    assert elsewhere == []


def test_every_path_in_the_architecture_table_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|") and "`" in line]
    paths = [path for row in rows for path in re.findall(r"`([\w./-]+/[\w./-]*)`", row)]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_lock_files_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text


def test_every_make_target_has_its_help_line() -> None:
    printed = subprocess.run(
        ["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True
    ).stdout
    targets = re.findall(r"make (\S+)", printed)
    assert set(targets) >= {"help", "setup", "check", "test", "demo", "demo-down", "bench", "image"}


def test_every_module_that_the_charts_rights_name_exists() -> None:
    text = (ROOT / "charts/relay-operator/templates/rbac.yaml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    named = [path for line in comments for path in re.findall(r"[\w/]+\.py", line)]
    assert len(named) >= 8
    assert [path for path in named if not (ROOT / "operator/relay_operator" / path).exists()] == []


def test_the_work_queue_stays_as_small_as_adr_2_says() -> None:
    queue = ROOT / "operator/relay_operator/reconcile/work_queue.py"
    assert len(queue.read_text().splitlines()) <= 150


def test_the_index_of_decisions_lists_every_record_with_its_status_and_date() -> None:
    folder = ROOT / "docs/adr"
    index = (folder / "README.md").read_text()
    rows = []
    for record in sorted(folder.glob("0*.md")):
        text = record.read_text()
        number, title = re.findall(r"\A# (\d+)\. (.+)", text)[0]
        status, date = re.findall(r"^Status: (.+)\. Date: (\d{4}-\d\d-\d\d)\.$", text, re.M)[0]
        rows.append(f"| {number} | [{title}]({record.name}) | {status} | {date} |")
    assert [line for line in index.splitlines() if re.match(r"\| \d", line)] == rows
