"""Rows 1, 2, 5 and the fault of prompts: what a tenant can learn of, or reach by a name, that is not its own."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

from tests.blackbox.paired_times import MOST_DEVIATIONS, slower_by
from tests.blackbox.wire import Answer
from tests.tool_isolation.callers import Client, Era, result_of
from tests.tool_isolation.findings import Findings
from tests.tool_isolation.gateway import (
    Gateway,
    Tenant,
    entries,
    names,
    new_mark,
    said,
    was_refused,
)

UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


def lists_show_ones_own_alone(gateway: Gateway, found: Findings) -> None:
    """Row 1: lists, their pages, totals and cursors tell a tenant nothing of another's tools."""
    for one, other in gateway.clients:
        era = one.era.value
        for client, own, others in (
            (one, gateway.one, gateway.other),
            (other, gateway.other, gateway.one),
        ):
            listed = names(client)
            found.expect(own.tool in listed, f"{era}: a tenant's own tool is not in its list")
            found.expect(own.shared in listed, f"{era}: the shared tool is not in a list")
            _, seen = entries(client, "tools")
            hidden = (others.tool, gateway.denied)
            for name in hidden:
                found.expect(
                    name.encode() not in seen, f"{era}: a list has {name}, which is not granted"
                )
            found.expect(
                not re.search(rb'"total"\s*:\s*4', seen), f"{era}: a list counts hidden tools"
            )
        cursor = (result_of(one.ask("tools/list")) or {}).get("nextCursor")
        if cursor is None:
            found.leave_out(f"{era}: cursors, the list is one page")
            continue
        answer = other.ask("tools/list", cursor=cursor)
        found.expect(was_refused(answer), f"{era}: a cursor of one tenant is good for the other")


def denied_is_as_unknown(gateway: Gateway, found: Findings) -> None:
    """Row 2: the other's tool, a denied one and one that does not exist are answered alike, unseen by the server behind."""
    for one, _ in gateway.clients:
        era = one.era.value
        mark = new_mark()
        unknown = _masked(one.call(gateway.unknown, mark=mark), gateway.unknown)
        for name in (gateway.denied, gateway.other.tool):
            answer = one.call(name, mark=mark)
            found.expect(was_refused(answer), f"{era}: a call of {name}, not granted, has a result")
            found.expect(
                _masked(answer, name) == unknown,
                f"{era}: {name}, not granted, is answered otherwise than an unknown name:"
                f" {_masked(answer, name)} beside {unknown}",
            )
        ran = gateway.server.executed(mark)
        found.expect(not ran, f"{era}: the server behind ran {ran} for who may not call them")
    one = gateway.clients[0][0]
    apart = slower_by(
        _timed(one, gateway.denied), _timed(one, gateway.unknown), pairs=gateway.pairs
    )
    found.expect(
        abs(apart) < MOST_DEVIATIONS,
        f"denied and unknown take different times: {apart:+.1f} standard deviations of"
        f" {gateway.pairs} pairs, chance gives less than {MOST_DEVIATIONS}",
    )


def _timed(client: Client, name: str) -> Callable[[int], float]:
    def seconds(_: int) -> float:
        started = time.perf_counter()
        client.call(name)
        return time.perf_counter() - started

    return seconds


def _masked(answer: Answer, name: str) -> Any:
    """Returns what a caller can tell an answer by, without the name that it gave and ids that are new in every answer."""
    status, headers, told = said(answer)
    return status, headers, tuple(UUID.sub("ID", one.replace(name, "NAME")) for one in told)


def messages_have_one_reading(gateway: Gateway, found: Findings) -> None:
    """Row 5: what could be read in two ways, or by a name in other letters, runs nothing that is not granted."""
    own, denied = gateway.one.tool, gateway.denied
    for one, _ in gateway.clients:
        era = one.era.value
        for what, name in _look_alikes(denied, own).items():
            mark = new_mark()
            answer = one.call(name, mark=mark)
            found.expect(
                was_refused(answer) and not gateway.server.executed(mark),
                f"{era}: a denied name {what} is called",
            )
        for what, raw in _double_readings(one, own, denied).items():
            mark = new_mark()
            text = raw.replace("MARK", mark).encode()
            one.say(one.message("tools/call", name=own), raw=text)
            ran = set(gateway.server.executed(mark))
            found.expect(
                not any(denied.endswith(name) for name in ran),
                f"{era}: a denied tool runs by {what}",
            )
        if one.era is Era.STATELESS:
            _headers_repeat_the_body(gateway, one, found)
        else:
            found.leave_out(f"{era}: headers that repeat the body, the era has none")


def _look_alikes(denied: str, own: str) -> dict[str, str]:
    return {
        "in capitals": denied.upper(),
        "with a blank": f"{denied} ",
        "with a NUL": f"{denied}\0",
        "with a zero-width space": f"{denied[:3]}\u200b{denied[3:]}",
        "with a Cyrillic letter": denied.replace("e", "\u0435").replace("s", "\u0455"),
        "in full-width letters": "".join(chr(ord(one) + 0xFEE0) for one in denied),
        "behind a server's prefix": f"erp__{denied}",
        "behind one's own": f"{own}/../{denied}",
        "behind one's own and a NUL": f"{own}\0{denied}",
        "at the end of 100,000 letters": "x" * 100_000 + denied,
    }


def _double_readings(client: Client, own: str, denied: str) -> dict[str, str]:
    def call(name: str, *, id: int = 1) -> str:  # noqa: A002 - the protocol's word
        arguments = {"mark": "MARK"}
        return json.dumps(client.message("tools/call", id=id, name=name, arguments=arguments))

    def twice(first: str, key: str, second: str) -> str:
        was = f'"name": "{own}"'
        return call(own).replace(was, f'"name": "{first}", "{key}": "{second}"')

    return {
        "a second name": twice(own, "name", denied),
        "a first name": twice(denied, "name", own),
        "a second name in capitals": twice(own, "Name", denied),
        "a second name in escapes": twice(own, "n\\u0061me", denied),
        "a second method": call(denied).replace(
            '"method": "tools/call"', '"method": "tools/list", "method": "tools/call"'
        ),
        "a batch": f"[{call(own)}, {call(denied, id=2)}]",
    }


def _headers_repeat_the_body(gateway: Gateway, one: Client, found: Findings) -> None:
    for what, body, headers in (
        ("a name", gateway.one.tool, {"mcp-name": gateway.one.shared}),
        ("no name", gateway.one.tool, {"mcp-name": None}),
        ("a method", gateway.one.tool, {"mcp-method": "tools/list"}),
        ("a revision", gateway.one.tool, {"mcp-protocol-version": Era.SESSIONS.value}),
        ("a granted name for a denied one", gateway.denied, {"mcp-name": gateway.one.tool}),
    ):
        mark = new_mark()
        content = one.message("tools/call", name=body, arguments={"mark": mark})
        answer = one.say(content, headers)
        found.expect(
            was_refused(answer) and not gateway.server.executed(mark),
            f"{one.era.value}: headers with {what} that the body has not are taken",
        )


def prompts_and_resources_are_as_closed(gateway: Gateway, found: Findings) -> None:
    """A fault seen elsewhere: prompts/get, resources/read and completion answer for what the list leaves out."""
    for one, other in gateway.clients:
        for kind in ("prompts", "resources"):
            own, others = _named(gateway.one, kind), _named(gateway.other, kind)
            if not own or not others:
                found.leave_out(f"{kind}, of which the two tenants have none")
                continue
            listed = names(one, kind)
            found.expect(own in listed, f"{one.era.value}: {own} is not in its tenant's list")
            found.expect(others not in listed, f"{one.era.value}: {others} is in another's list")
            for method, given in _requests_for(kind):
                _reaches_ones_own_alone(gateway, one, method, given, (own, others), found)
                _reaches_ones_own_alone(gateway, other, method, given, (others, own), found)


def _named(tenant: Tenant, kind: str) -> str:
    return tenant.prompt if kind == "prompts" else tenant.resource


def _requests_for(kind: str) -> list[tuple[str, Callable[[str], dict[str, Any]]]]:
    argument = {"name": "x", "value": ""}
    if kind == "prompts":
        return [
            ("prompts/get", lambda name: {"name": name}),
            (
                "completion/complete",
                lambda name: {"ref": {"type": "ref/prompt", "name": name}, "argument": argument},
            ),
        ]
    return [
        ("resources/read", lambda uri: {"uri": uri}),
        (
            "completion/complete",
            lambda uri: {"ref": {"type": "ref/resource", "uri": uri}, "argument": argument},
        ),
    ]


def _reaches_ones_own_alone(
    gateway: Gateway,
    client: Client,
    method: str,
    given: Callable[[str], dict[str, Any]],
    own_and_others: tuple[str, str],
    found: Findings,
) -> None:
    era = client.era.value
    own, others = own_and_others
    if was_refused(client.ask(method, **given(own))):
        found.leave_out(f"{era}: {method}, which the gateway does not serve")
        return
    before = len(gateway.server.arrivals(method))
    answer = client.ask(method, **given(others))
    found.expect(
        was_refused(answer) and b"said by" not in answer.body and b"said for" not in answer.body,
        f"{era}: {method} answers for {others}, which is not granted",
    )
    unknown = others[:-2] + "qq"
    found.expect(
        _masked(answer, others) == _masked(client.ask(method, **given(unknown)), unknown),
        f"{era}: {method} tells what is not granted from what does not exist",
    )
    found.expect(
        len(gateway.server.arrivals(method)) == before,
        f"{era}: {method} for what is not granted reaches the server behind",
    )
