"""Tool servers of the official SDKs, as processes, and grants of what they list."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.blackbox.process import REPOSITORY, Process, free_ports
from tests.blackbox.waiting import eventually
from tests.unit.relay.tools.protocol import raw

MCP_LOCK = Path(__file__).parent / "mcp_python" / "mcp.lock"
START_SECONDS = 60


def python_environment_of(sdk: Path) -> dict[str, str]:
    """Returns the environment of a program with the SDK for Python."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{sdk}{os.pathsep}{REPOSITORY}"}


@contextmanager
def python_server(sdk: Path, module: str, log: Path) -> Iterator[str]:
    """Runs a module of tests.blackbox.mcp_python, which serves at the port it is given, and returns its address."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/mcp"
    process = Process(
        [sys.executable, "-m", f"tests.blackbox.mcp_python.{module}", str(port)],
        environment=python_environment_of(sdk),
        log=log,
    )
    try:
        eventually(
            lambda: process.exit_code is not None or listed(url, "tools/list", "tools"),
            what="the server",
            within_seconds=START_SECONDS,
        )
        assert process.exit_code is None, process.output()
        yield url
    finally:
        process.kill()


def listed(url: str, method: str, key: str) -> list[dict[str, Any]]:
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
    found: list[dict[str, Any]] = json.loads(text)["result"][key]
    return found
