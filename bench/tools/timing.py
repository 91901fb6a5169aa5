"""Measures whether the time tells denied names from unknown ones: pairs in random order on one connection, for every method that names something."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.tools import targets
from bench.tools.targets import Target
from tests.blackbox.paired_times import MOST_DEVIATIONS, slower_by
from tests.blackbox.tenant import KEY
from tests.blackbox.tool_calls import MCP, SECRET
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import approved, prompt, raw, tool

from relay_contract.tools.definitions import WAITING, ResourceDefinition
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

PAIRS: Final = int(os.environ.get("TOOLS_PAIRS", "1000"))
_CONTROL_PAIRS: Final = 300
_SEEN_BYTES: Final = 128 * 1024
"""Of arguments that the control has to find slower."""
_RESOURCES: Final = ("file:///reports/*", "memo://rates")
_FINANCE: Final = Grant(
    server="erp",
    tools=("read_invoice", "list_orders"),
    prompts=("summarise",),
    resources=_RESOURCES,
    tool_definitions=approved(tool("read_invoice"), tool("list_orders")),
    prompt_definitions=approved(prompt("summarise")),
    resource_definitions=(
        ResourceDefinition(name="memo://rates", digest=WAITING),
        ResourceDefinition(name="file:///reports/q3", digest=WAITING),
    ),
)
_OTHERS: Final = Grant(
    server="hr",
    tools=("pay",),
    prompts=("dismiss",),
    resources=("memo://salaries",),
    tool_definitions=approved(tool("pay")),
    prompt_definitions=approved(prompt("dismiss")),
)
"""Granted to another tenant alone."""


def _read(uri: str) -> dict[str, Any]:
    return {"method": "resources/read", "uri": uri}


def _completed(kind: str, named: str, name: str) -> dict[str, Any]:
    argument = {"name": "part", "value": "7"}
    ref = {"type": kind, named: name}
    return {"method": "completion/complete", "ref": ref, "argument": argument}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two requests of one method, of names of one length."""

    title: str
    one: dict[str, Any]
    unknown: dict[str, Any]


CASES: Final = (
    Case(
        title="tools/call, denied",
        one={"method": "tools/call", "name": _OTHERS.tools[0]},
        unknown={"method": "tools/call", "name": "yap"},
    ),
    Case(
        title="prompts/get, denied",
        one={"method": "prompts/get", "name": _OTHERS.prompts[0]},
        unknown={"method": "prompts/get", "name": "mdissis"},
    ),
    Case(
        title="resources/read, denied",
        one=_read(_OTHERS.resources[0]),
        unknown=_read("memo://seiralas"),
    ),
    Case(
        title="resources/read, suspended",
        one=_read(_RESOURCES[1]),
        unknown=_read("memo://setar"),
    ),
    Case(
        title="resources/read, suspended under a pattern",
        one=_read("file:///reports/q3"),
        unknown=_read("file:///stroper/q3"),
    ),
    Case(
        title="completion/complete of a prompt, denied",
        one=_completed("ref/prompt", "name", _OTHERS.prompts[0]),
        unknown=_completed("ref/prompt", "name", "mdissis"),
    ),
    Case(
        title="completion/complete of a resource, denied",
        one=_completed("ref/resource", "uri", _OTHERS.resources[0]),
        unknown=_completed("ref/resource", "uri", "memo://seiralas"),
    ),
)


@dataclass(slots=True)
class _Times:
    """The times of requests of one kind, in seconds."""

    seconds: list[float] = field(default_factory=list)

    def median_us(self) -> float:
        return statistics.median(self.seconds) * 1e6


def compare(site: Path, work: Path, behind: Target, say: Callable[[str], None]) -> None:
    """Prints a line for each method, and one of the control: a difference of some milliseconds is seen."""
    fields = {
        "tool_servers": (ToolServer(name="erp", url=behind.url, key_file="tools-erp"),),
        "tools": Manifest(grants=(_FINANCE,)),
    }
    # connections live as long as the run
    settings = {"connection_age_seconds": "3600"}
    with targets.relay_with(site, work, behind.url, fields, **settings) as relay:
        relay.give_key("tools-erp", SECRET)
        with Wire(relay.port) as wire:
            for case in CASES:
                _tell(wire, case.title, _request(case.one), _request(case.unknown), PAIRS, say)
            large = {"method": "tools/call", "name": "yap", "arguments": {"n": "x" * _SEEN_BYTES}}
            small = _request(CASES[0].unknown)
            _tell(wire, "the control", _request(large), small, _CONTROL_PAIRS, say)


def _tell(
    wire: Wire, title: str, one: bytes, other: bytes, pairs: int, say: Callable[[str], None]
) -> None:
    mine, others = _Times(), _Times()
    deviations = slower_by(
        lambda _: _timed(wire, one, mine), lambda _: _timed(wire, other, others), pairs=pairs
    )
    told = "a difference" if abs(deviations) >= MOST_DEVIATIONS else "no difference"
    say(
        f"timing: {title}: {mine.median_us():,.0f} us, unknown {others.median_us():,.0f} us (medians of {pairs:,} pairs);"
        f" slower by {deviations:+.1f} standard deviations, which is {told} (bound {MOST_DEVIATIONS})"
    )


def _timed(wire: Wire, request: bytes, times: _Times) -> float:
    started = time.perf_counter()
    wire.send(request)
    answer = wire.answer()
    taken = time.perf_counter() - started
    assert answer.json()["error"]["code"] in (-32602, -32002), answer
    times.seconds.append(taken)
    return taken


def _request(asked: dict[str, Any]) -> bytes:
    method = asked["method"]
    params = {name: value for name, value in asked.items() if name != "method"}
    named = params.get("name") or params.get("uri")
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        **({"mcp-name": named} if named else {}),
    }
    return request_bytes("POST", MCP, fields, raw(method, **params))
