"""The official SDK for Python works against the relay unchanged, with a server of the same SDK behind it, in both eras.

It is installed once per lock file, outside the clone and the environment of the tests.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.process import Process, free_ports
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.tool_calls import SECRET
from tests.blackbox.waiting import eventually
from tests.unit.relay.tools.protocol import approved, raw

from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

HERE = Path(__file__).parent / "mcp_python"
RUN_SECONDS = 40
pytestmark = pytest.mark.timeout(300)
TOOLS = ("add", "count", "report_year", "fail")


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Returns the directory with the SDK, for PYTHONPATH."""
    lock = HERE / "mcp.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "relay-operator" / "mcp-python" / digest
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not home.exists():
            partial = home.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
            # byte-compiling all of it takes longer than what one run needs
            command += ["--no-compile"]
            command += [f"--requirement={lock}", f"--target={partial}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
            partial.rename(home)
    return home


@pytest.fixture(scope="module")
def books(sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts a server of the SDK's and returns its address."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/mcp"
    process = Process(
        [sys.executable, str(HERE / "serve.py"), str(port)],
        environment=_environment(sdk),
        log=tmp_path_factory.mktemp("books") / "server.log",
    )
    try:
        eventually(
            lambda: _listed(url, "tools/list", "tools"), bool, what="the server", within_seconds=60
        )
        yield url
    finally:
        process.kill()


@pytest.fixture
def reader(relay: Relay, platform: Platform, books: str) -> Relay:
    """Gives the session's relay most of what the server has."""
    relay.give_key("tools-books", SECRET)
    tools = [one for one in _listed(books, "tools/list", "tools") if one["name"] in TOOLS]
    grant = Grant(
        server="books",
        tools=TOOLS,
        tool_definitions=approved(*tools),
        prompts=("*",),
        prompt_definitions=approved(*_listed(books, "prompts/list", "prompts")),
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


def _seen(sdk: Path, url: str, mode: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "use.py"), url, KEY, mode],
        env=_environment(sdk),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def _environment(sdk: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(sdk)}


def _listed(url: str, method: str, key: str) -> list[dict[str, Any]]:
    """Returns what the server itself lists; nothing while it does not answer."""
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
    }
    request = urllib.request.Request(url, data=raw(method), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
    except OSError:
        return []
    text = content[content.index(b"{") :].strip()
    listed: list[dict[str, Any]] = json.loads(text)["result"][key]
    return listed
