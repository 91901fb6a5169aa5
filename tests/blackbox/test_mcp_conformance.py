"""The official conformance suite of the protocol, server side, through a relay, at both revisions.

Behind the relay stands a server of the official SDK for Python that passes all of it but tasks. What fails stands with its reason in
mcp_conformance/expected_failures.yaml, and nothing else: of what is in the list everything has to fail, so it can only get shorter.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.blackbox.key_adder import adding
from tests.blackbox.locked_packages import node_packages, python_packages
from tests.blackbox.official_servers import MCP_LOCK, listed, node_program, python_server
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.tool_calls import SECRET
from tests.unit.relay.tools.protocol import approved

from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

HERE = Path(__file__).parent
PACKAGES = HERE / "mcp_node"
EXPECTED = HERE / "mcp_conformance" / "expected_failures.yaml"
SUITE = Path("node_modules/@modelcontextprotocol/conformance")
WHOLE = "all"
RUN_SECONDS = 180
MOST_LISTED = {"2025-11-25": 0, "2026-07-28": 10}
"""Scenarios: the list gets no longer; lower the number with it."""
REVISIONS = tuple(MOST_LISTED)
Failures = dict[str, dict[str, str]]
"""By scenario, the checks that failed or were left out, and what the suite says of each."""
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def node_mcp() -> Path:
    """Returns the directory with the packages of the protocol for Node."""
    return node_packages(PACKAGES, name="mcp-node")


@pytest.fixture(scope="module")
def conformant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts the server behind and returns its address."""
    sdk = python_packages(MCP_LOCK, name="mcp-python")
    log = tmp_path_factory.mktemp("conformant") / "server.log"
    with python_server(sdk, "conformant", log) as url:
        yield url


@pytest.fixture
def granting(new_relay: NewRelay, platform: Platform, conformant: str) -> Relay:
    """Starts a relay that grants all of the server."""
    relay = new_relay()
    relay.give_key("tools-conformant", SECRET)
    grant = Grant(
        server="conformant",
        tools=("*",),
        tool_definitions=approved(*listed(conformant, "tools/list", "tools")),
        prompts=("*",),
        prompt_definitions=approved(*listed(conformant, "prompts/list", "prompts")),
        resources=("test://*",),
    )
    server = ToolServer(name="conformant", url=conformant, key_file="tools-conformant")
    relay.push(platform.document(tool_servers=(server,), tools=Manifest(grants=(grant,))))
    return relay


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_fails_in_the_official_suite_is_what_is_known_to(
    node_mcp: Path, granting: Relay, tmp_path: Path, revision: str
) -> None:
    with adding(KEY, granting.port) as port:
        failed = _failures(node_mcp, f"http://127.0.0.1:{port}/mcp", revision, tmp_path)
    expected = yaml.safe_load(EXPECTED.read_text())[revision]
    differences = _differences(failed, expected)
    assert not differences, "\n".join(differences)


def test_the_list_gets_no_longer() -> None:
    listed = yaml.safe_load(EXPECTED.read_text())
    assert {revision: len(listed[revision]) for revision in listed} == MOST_LISTED


def _differences(failed: Failures, expected: dict[str, list[str] | str]) -> list[str]:
    """Says of each scenario what fails and is not listed, and what is listed and passes."""
    differences = []
    for scenario in sorted(failed.keys() | expected.keys()):
        found, listing = failed.get(scenario, {}), expected.get(scenario, ())
        known = set(found) if listing == WHOLE else set(listing)
        differences += [
            f"{scenario} fails and is not listed: {check}: {found[check]}"
            for check in sorted(found.keys() - known)
        ]
        stale = known - found.keys() or (listing == WHOLE and not found)
        if stale:
            differences.append(f"{scenario} passes and is listed: take it out ({listing})")
    return differences


def test_a_failure_that_is_new_and_one_that_is_gone_are_both_told_by_name() -> None:
    failed = {"ping": {"pong": "no pong"}, "tasks": {"any": ""}, "known": {"a": "", "b": ""}}
    expected: dict[str, list[str] | str] = {
        "tasks": WHOLE,
        "gone": WHOLE,
        "known": ["a", "c"],
    }
    assert _differences(failed, expected) == [
        f"gone passes and is listed: take it out ({WHOLE})",
        "known fails and is not listed: b: ",
        "known passes and is listed: take it out (['a', 'c'])",
        "ping fails and is not listed: pong: no pong",
    ]


def _failures(node_mcp: Path, url: str, revision: str, results: Path) -> Failures:
    """Runs all scenarios that the suite has for a revision."""
    done = subprocess.run(
        [
            *node_program(node_mcp, "conformance/dist/index.js"),
            *("server", "--url", url, "--requirements", revision, "--output-dir", str(results)),
        ],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    # 1 means that a scenario failed
    assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"
    failed: Failures = {}
    for scenario in _scenarios(node_mcp, revision):
        # the directory's name ends with the time
        found = sorted(results.glob(f"server-{scenario}-20??-*/checks.json"))
        assert len(found) == 1, f"{scenario} did not run:\n{done.stdout}\n{done.stderr}"
        checks = json.loads(found[0].read_text())
        assert checks, f"{scenario} checked nothing"
        missed = [one for one in checks if one["status"] not in ("SUCCESS", "INFO")]
        if missed:
            failed[scenario] = {one["id"]: one.get("errorMessage", "") for one in missed}
    return failed


def _scenarios(node_mcp: Path, revision: str) -> list[str]:
    """Returns what the suite itself says that it has for servers of a revision, scored or not."""
    stated = yaml.safe_load((node_mcp / SUITE / "requirements" / f"{revision}.yaml").read_text())
    unscored = [one["scenario"] for one in stated["not_scored"] if one["leg"] == "server"]
    assert len(stated["server"]) >= len(REVISIONS)
    return [*stated["server"], *unscored]
