"""The import contracts of pyproject.toml: each is kept, fails on a planted violation, and is named for what it holds."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import Contract
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("kubectl_relay", "relay", "relay_contract", "relay_ledger", "relay_operator")
KINDS: dict[str, type[Contract]] = {"layers": LayersContract, "forbidden": ForbiddenContract}

PURE = "clock, chance, I/O or client"
"""Stands for NOT_PURE in the name of a purity contract."""
NOT_PURE = {
    *("asyncio", "concurrent", "logging", "os", "pathlib", "random", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile"),
    *("threading", "time", "aiohttp", "httptools", "httpx", "kopf", "kubernetes"),
    *("prometheus_api_client", "prometheus_client", "requests", "urllib3", "uvloop"),
}

configure()
_OPTIONS = read_user_options(str(ROOT / "pyproject.toml"))
SETTINGS: dict[str, Any] = _OPTIONS.session_options
CONTRACTS: list[dict[str, Any]] = _OPTIONS.contracts_options


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        *PACKAGES,
        include_external_packages=True,
        exclude_type_checking_imports=False,
        cache_dir=None,
    )


def kept(options: dict[str, Any], graph: grimp.ImportGraph) -> bool:
    contract = KINDS[options["type"]](
        name=options["name"], session_options=SETTINGS, contract_options=deepcopy(options)
    )
    # a check takes the ignored imports out of the graph
    return contract.check(deepcopy(graph), verbose=False).kept


@dataclass(frozen=True)
class Violation:
    """An import that a contract forbids: from a new module of a package."""

    importer: str
    imported: str

    def planted(self, graph: grimp.ImportGraph) -> grimp.ImportGraph:
        changed = deepcopy(graph)
        module = f"{self.importer}.planted" if _is_package(self.importer) else self.importer
        changed.add_module(module)
        if self.imported not in changed.modules:
            changed.add_module(self.imported, is_squashed=True)
        changed.add_import(importer=module, imported=self.imported)
        return changed


def _is_package(module: str) -> bool:
    return bool(_graph().find_children(module))


def violations(options: dict[str, Any]) -> Iterator[Violation]:
    """Yields an import for every pair that a contract forbids."""
    if options["type"] == "forbidden":
        for importer, imported in itertools.product(
            options["source_modules"], options["forbidden_modules"]
        ):
            yield Violation(importer, imported)
        return
    (container,) = options["containers"]
    floors = [
        [f"{container}.{name.strip()}" for name in layer.replace(":", "|").split("|")]
        for layer in options["layers"]
    ]
    for upper, lower in itertools.combinations(floors, 2):
        for importer, imported in itertools.product(lower, upper):
            yield Violation(importer, imported)
    for layer, names in zip(options["layers"], floors, strict=True):
        if "|" in layer:
            yield from (Violation(*pair) for pair in itertools.permutations(names, 2))


@pytest.mark.parametrize("options", CONTRACTS, ids=lambda options: options["name"])
def test_a_contract_is_kept_and_fails_on_every_planted_violation(options: dict[str, Any]) -> None:
    assert kept(options, _graph())
    planted = list(violations(options))
    assert planted
    assert [one for one in planted if kept(options, one.planted(_graph()))] == []


@pytest.mark.parametrize("package", ["kubectl_relay", "relay", "relay_ledger", "relay_operator"])
def test_a_new_room_has_to_be_given_its_layer(package: str) -> None:
    graph = deepcopy(_graph())
    graph.add_module(f"{package}.planted")
    (layers,) = (one for one in CONTRACTS if one.get("containers") == [package])
    assert kept(layers, _graph())
    assert not kept(layers, graph)


def test_an_import_for_type_checkers_alone_breaks_a_contract(tmp_path: Path) -> None:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "operator" / package, tmp_path / package, ignore=ignored)
    module = tmp_path / "relay_contract" / "seal.py"
    module.write_text(
        f"{module.read_text()}\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from relay.settings import Settings as Settings\n"
    )
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config"]
    done = subprocess.run(
        [*command, str(ROOT / "pyproject.toml")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "relay_contract imports no relay, relay_ledger, relay_operator BROKEN" in done.stdout


def expected_name(options: dict[str, Any]) -> str:
    """Returns the name that says all that a contract's options hold."""
    if options["type"] == "layers":
        return f"{', '.join(options['containers'])}: {' > '.join(options['layers'])}"
    forbidden = options["forbidden_modules"]
    verb = "imports" if len(options["source_modules"]) == 1 else "import"
    what = PURE if set(forbidden) == NOT_PURE else ", ".join(forbidden)
    name = f"{', '.join(options['source_modules'])} {verb} no {what}"
    if options.get("allow_indirect_imports"):
        name += " directly"
    ignored = [one.split(" -> ") for one in options.get("ignore_imports", [])]
    if not ignored:
        return name
    if {imported for _, imported in ignored} == set(forbidden):
        edges = dict.fromkeys(importer.removesuffix(".**") for importer, _ in ignored)
        return f"{name} outside {', '.join(edges)}"
    return f"{name}; but {', '.join(options['ignore_imports'])}"


@pytest.mark.parametrize("options", CONTRACTS, ids=lambda options: options["name"])
def test_a_contract_is_named_for_what_it_holds(options: dict[str, Any]) -> None:
    assert options["name"] == expected_name(options)


def test_every_contract_is_checked_here() -> None:
    assert {one["type"] for one in CONTRACTS} == set(KINDS)
    assert set(SETTINGS["root_packages"]) == set(PACKAGES)
