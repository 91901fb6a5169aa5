"""The official SDK for Python works against the relay unchanged, with a server of the same SDK behind it, in both eras."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.locked_packages import python_packages
from tests.blackbox.official_servers import (
    MCP_LOCK,
    listed,
    python_environment_of,
    python_server,
)
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.tool_calls import SECRET
from tests.pages.blocks import blocks_of
from tests.unit.relay.tools.protocol import approved

from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

HERE = Path(__file__).parent / "mcp_python"
RUN_SECONDS = 120
pytestmark = pytest.mark.timeout(300)
TOOLS = ("add", "count", "report_year", "fail")


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Returns the directory with the SDK, for PYTHONPATH."""
    return python_packages(MCP_LOCK, name="mcp-python")


@pytest.fixture(scope="module")
def books(sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts a server of the SDK's and returns its address."""
    with python_server(sdk, "serve", tmp_path_factory.mktemp("books") / "server.log") as url:
        yield url


@pytest.fixture
def reader(patient_relay: Relay, platform: Platform, books: str) -> Relay:
    """Gives the session's patient relay most of what the server has."""
    relay = patient_relay
    relay.give_key("tools-books", SECRET)
    tools = [one for one in listed(books, "tools/list", "tools") if one["name"] in TOOLS]
    grant = Grant(
        server="books",
        tools=TOOLS,
        tool_definitions=approved(*tools),
        prompts=("*",),
        prompt_definitions=approved(*listed(books, "prompts/list", "prompts")),
        resources=("memo://rates", "book://*"),
    )
    server = ToolServer(name="books", url=books, key_file="tools-books")
    relay.push(platform.document(tool_servers=(server,), tools=Manifest(grants=(grant,))))
    return relay


@pytest.mark.parametrize(
    ("mode", "version"),
    [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28"), ("auto", "2026-07-28")],
)
def test_the_sdk_sees_what_is_granted_and_nothing_else(
    sdk: Path, reader: Relay, mode: str, version: str
) -> None:
    seen = _seen(sdk, f"http://127.0.0.1:{reader.port}/mcp", mode)
    assert seen["version"] == version
    assert seen["instructions"] is None
    assert seen["server"] in ("relay", None)
    assert seen["tools"] == list(TOOLS)
    assert seen["prompts"] == ["summarise"]
    assert seen["resources"] == ["memo://rates"]
    assert seen["templates"] == ["book://{title}"]
    assert seen["add"] == {"result": 5}
    assert seen["count"] == ["counted to 3", [1, 2, 3]]
    assert seen["fail"] is True
    assert seen["prompt"] == "Summarise x."
    assert seen["rates"] == "7 %"
    assert seen["book"] == "text of dune"
    assert seen["denied"] == seen["unknown"] == [-32602, "Unknown tool"]
    assert seen["salaries"][1] == "Resource not found"
    # requests of a server's to its client exist with sessions alone
    assert ("accept: 2025" in str(seen["elicited"])) is (mode == "legacy")


def test_the_program_of_the_page_calls_a_tool(sdk: Path, reader: Relay) -> None:
    [block] = [one for one in blocks_of("docs/how-to/tools.md") if one.language == "python"]
    call = '"read_invoice", {"number": 117}'
    assert block.text.count(call) == 1
    url = f"http://127.0.0.1:{reader.port}/mcp"
    done = subprocess.run(
        [sys.executable, "-c", block.text.replace(call, '"add", {"a": 100, "b": 17}')],
        env={**python_environment_of(sdk), "RELAY_API_KEY": KEY, "RELAY_MCP_URL": url},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*TOOLS, "117"]


def _seen(sdk: Path, url: str, mode: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "use.py"), url, KEY, mode],
        env=python_environment_of(sdk),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content
