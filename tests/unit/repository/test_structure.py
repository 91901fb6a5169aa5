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
PACKAGES = ("kubectl_relay", "relay", "relay_contract", "relay_ledger", "relay_operator")
MAX_MODULES = 14


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


def test_every_path_in_the_architecture_page_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    places = (ROOT, ROOT / "operator/relay", ROOT / "operator/relay_operator")
    assert len(paths) > 80
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def test_lock_files_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text


def test_every_make_target_has_its_help_line() -> None:
    printed = subprocess.run(
        ["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True
    ).stdout
    described = set(re.findall(r"make (\S+) +\S", printed))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert described == set(phony.split())
    assert described >= {"setup", "check", "unit", "blackbox", "test", "demo", "bench", "image"}


def rooms() -> list[Path]:
    return [
        init.parent
        for root in ("operator", "tests", "bench")
        for init in (ROOT / root).rglob("__init__.py")
    ]


def test_no_package_directly_holds_too_many_modules() -> None:
    sizes = {
        str(room.relative_to(ROOT)): sum(
            path.stem not in {"__init__", "__main__"} for path in room.glob("*.py")
        )
        for room in rooms()
        # steps of the tables follow one another, and none ever goes
        if room.name != "versions"
    }
    assert len(sizes) > 20
    assert {name: size for name, size in sizes.items() if size > MAX_MODULES} == {}


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/adr/0014-rooms.md"])
def test_the_rooms_in_the_documents_are_those_of_the_contracts(page: str) -> None:
    contracts = (ROOT / "pyproject.toml").read_text()
    rooms = re.findall(
        r"`((?:process|handlers) > [\w >|,]+?)(?:, errors)?`", (ROOT / page).read_text()
    )
    assert len(rooms) == 2
    assert [line for line in rooms if f" > {line}" not in contracts] == []
