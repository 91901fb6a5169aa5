"""Runs what the bench calls, each with one worker on one core: the tool server, and in front of it the relay or LiteLLM's gateway."""

import json
import os
import shlex
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.relay import places
from bench.relay.tools_cost import NAMES
from bench.tools import server
from tests.blackbox.process import Process, free_ports
from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.tenant import KEY, Platform, Signer
from tests.blackbox.waiting import eventually
from tests.unit.relay.tools.protocol import META, approved, tool

from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

START_SECONDS: Final = 120
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
}


@dataclass(frozen=True, slots=True)
class Target:
    """An address, and how its tool is called there."""

    name: str
    url: str
    body: str
    headers: Mapping[str, str]

    def answers(self) -> bool:
        """Tells whether a call returns the tool's whole text."""
        request = urllib.request.Request(self.url, self.body.encode(), dict(self.headers))
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return server.TEXT.encode() in answer.read()
        except OSError:
            return False


@contextmanager
def direct(work: Path) -> Iterator[Target]:
    """Runs the tool server, on the core of the load."""
    (port,) = free_ports(1)
    command = [sys.executable, str(Path(server.__file__)), str(port)]
    with _running("server", places.LOAD_CPU, command, work, {}):
        target = _without_session("direct", f"http://127.0.0.1:{port}/mcp", {})
        eventually(target.answers, within_seconds=START_SECONDS, what="the tool server")
        yield target


@contextmanager
def relay(site: Path, work: Path, behind: Target) -> Iterator[Target]:
    """Runs a relay whose tenant is granted the tool and no rate."""
    grant = Grant(server="erp", tools=("read_invoice",), tool_definitions=approved(server.TOOL))
    fields: dict[str, Any] = {
        "tool_servers": (ToolServer(name="erp", url=behind.url),),
        "tools": Manifest(grants=(grant,)),
    }
    with relay_with(site, work / "relay", behind.url, fields) as running:
        url = f"http://127.0.0.1:{running.port}/mcp"
        target = _without_session("relay", url, {"Authorization": f"Bearer {KEY}"})
        eventually(target.answers, within_seconds=START_SECONDS, what="the relay")
        yield target


@contextmanager
def chat_relay(
    site: Path, work: Path, body: Mapping[str, Any], *, granted: bool
) -> Iterator[Target]:
    """Runs a relay in front of the provider, whose tenant is granted the 20 tools or has no manifest at all."""
    grant = Grant(
        server="parts",
        tools=("look_up_*",),
        tool_definitions=approved(*(tool(name) for name in NAMES)),
    )
    fields: dict[str, Any] = {
        "tool_servers": (ToolServer(name="parts", url="http://127.0.0.1:9/mcp"),),
        "tools": Manifest(grants=(grant,)),
    }
    name = "20 tools" if granted else "no manifest"
    provider = f"http://127.0.0.1:{places.UPSTREAM_PORT}/v1"
    with relay_with(site, work / name.replace(" ", "-"), provider, fields if granted else {}) as up:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        yield Target(name, f"http://127.0.0.1:{up.port}{CHAT}", json.dumps(body), headers)


@contextmanager
def relay_with(
    site: Path, work: Path, provider: str, fields: Mapping[str, Any], **settings: str
) -> Iterator[Relay]:
    """Runs a relay of one worker with its hot path compiled, for a tenant of these fields."""
    signer = Signer()
    command = places.pinned(places.PROXY_CPU, [places.PYTHON, "-m", "relay"])
    os.environ["RELAY_BLACKBOX_COMMAND"] = shlex.join(["env", f"PYTHONPATH={site}", *command])
    running = Relay(work, signer, workers="1", **settings)
    try:
        running.give_key("stable", "unused")
        running.write_document(Platform(signer, {"stable": provider}).document(**fields))
        running.wait_ready()
        yield running
    finally:
        running.process.kill()


@contextmanager
def litellm(site: Path, work: Path, behind: Target) -> Iterator[Target]:
    """Runs LiteLLM's gateway for tools: one worker, no database, no keys. It speaks the revision with sessions, and needs none."""
    (port,) = free_ports(1)
    config = work / "litellm.yaml"
    erp = {"url": behind.url, "transport": "http", "allow_all_keys": True}
    config.write_text(json.dumps({"mcp_servers": {"erp": erp}, "model_list": []}))
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "PYTHONPATH": str(site),
        "PATH": f"{site}/bin:{os.environ['PATH']}",
    }
    start = "from litellm import run_server; run_server()"
    command = [places.PYTHON, "-c", start, "--config", str(config), "--num_workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with _running("litellm", places.PROXY_CPU, command, work, environment):
        target = Target(
            "LiteLLM",
            f"http://127.0.0.1:{port}/mcp/",
            _call("erp-read_invoice", {}),
            {**_HEADERS, "MCP-Protocol-Version": "2025-11-25"},
        )
        eventually(target.answers, within_seconds=START_SECONDS, what="LiteLLM's gateway")
        yield target


def _without_session(name: str, url: str, headers: Mapping[str, str]) -> Target:
    mirrored = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "read_invoice",
    }
    body = _call("read_invoice", {"_meta": META})
    return Target(name, url, body, {**_HEADERS, **mirrored, **headers})


def _call(name: str, more: Mapping[str, Any]) -> str:
    params = {"name": name, "arguments": {"number": 4711}, **more}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})


@contextmanager
def _running(
    name: str, cpu: int, command: list[str], work: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    process = Process(
        places.pinned(cpu, command),
        environment={"PATH": os.environ["PATH"], "HOME": str(work), **environment},
        log=work / f"{name}.log",
    )
    try:
        yield
    finally:
        process.kill()
