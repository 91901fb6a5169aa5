"""A call of a tool that must not be carried out twice is carried out once: whoever makes it again is told what the first one got."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.session_server import SessionServer, serving_sessions
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform
from tests.blackbox.test_tool_records import records
from tests.blackbox.test_tool_sessions import begun, body, granted_at, say
from tests.blackbox.test_tools import asking_first
from tests.blackbox.tool_calls import FINANCE, MCP, SECRET, TOOLS, ask, code, document
from tests.blackbox.tool_server import (
    Reply,
    ToolServer,
    called,
    error,
    events,
    note,
    result,
    serving,
)
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Wire, request_bytes
from tests.unit.relay.tools.protocol import META, raw

from relay_contract.tools.manifest import Idempotency

ONCE = Idempotency(tools=("read_*",), seconds=600)
FIELDS = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "read_invoice",
}
WORKERS = 2
REPEATS = 12
"""On connections of their own, so that both workers get some."""


def pay(relay: Relay, amount: int = 7, *, id: Any = 1, **headers: str | None) -> Answer:  # noqa: A002
    """Calls a tool that the grant marks."""
    return ask(
        relay, raw("tools/call", id=id, name="read_invoice", arguments={"n": amount}), **headers
    )


def is_replayed(answer: Answer) -> bool:
    return answer.header("idempotent-replayed") == "true"


@pytest.fixture
def shop(new_relay: NewRelay, platform: Platform, erp: ToolServer) -> Relay:
    """Starts a relay of two workers, with a tool that must not be called twice."""
    relay = new_relay(workers=str(WORKERS))
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE, idempotency=ONCE))
    return relay


class Gate:
    """Holds the server's answers until it is opened."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.arrived.set()
        assert self.opened.wait(10)
        return result(body, called(body["params"]))


def test_a_repeat_gets_the_answer_to_the_first_call_by_its_own_id(
    shop: Relay, erp: ToolServer
) -> None:
    first = pay(shop, id=1)
    repeats = [pay(shop, id=f"again-{number}") for number in range(REPEATS)]
    assert len(erp.calls()) == 1
    assert not is_replayed(first)
    assert all(map(is_replayed, repeats))
    assert [one.json()["id"] for one in repeats] == [f"again-{n}" for n in range(REPEATS)]
    assert all(one.json()["result"] == first.json()["result"] for one in repeats)
    written = records(shop, 1 + REPEATS)
    assert sorted(line["outcome"] for line in written) == ["ok", *["replayed"] * REPEATS]
    assert len({line["call_id"] for line in written}) == 1
    assert len({line["event_id"] for line in written}) == 1 + REPEATS
    assert shop.metrics().total("relay_tool_calls_total", outcome="replayed") == REPEATS


def test_repeats_wait_for_a_call_that_is_under_way_in_any_worker(
    shop: Relay, erp: ToolServer
) -> None:
    gate = erp.behaviours["read_invoice"] = Gate()
    with ThreadPoolExecutor(REPEATS) as pool:
        calls = [pool.submit(pay, shop, id=number) for number in range(REPEATS)]
        assert gate.arrived.wait(10)
        time.sleep(0.3)
        assert not any(one.done() for one in calls)
        gate.opened.set()
        answers = [one.result() for one in calls]
    assert len(erp.calls()) == 1
    assert [one.status for one in answers] == [200] * REPEATS
    assert sum(map(is_replayed, answers)) == REPEATS - 1
    assert sorted(one.json()["id"] for one in answers) == list(range(REPEATS))


def test_a_call_goes_on_without_its_caller_and_the_repeat_has_its_answer(
    shop: Relay, erp: ToolServer
) -> None:
    gate = erp.behaviours["read_invoice"] = Gate()
    content = raw("tools/call", name="read_invoice", arguments={"n": 7})
    with Wire(shop.port) as wire:
        wire.send(request_bytes("POST", MCP, FIELDS, content))
        assert gate.arrived.wait(10)
    gate.opened.set()
    answer = pay(shop, id=2)
    assert is_replayed(answer)
    assert len(erp.calls()) == 1
    assert [line["outcome"] for line in records(shop, 2)] == ["ok", "replayed"]


def test_what_no_server_had_is_not_remembered(
    new_relay: NewRelay, platform: Platform, shop: Relay, erp: ToolServer
) -> None:
    gone = ToolServer(tools=[*TOOLS])
    with serving(gone):
        pass
    shop.push(document(platform, gone, FINANCE, idempotency=ONCE))
    assert pay(shop).status == 502
    erp.behaviours["read_invoice"] = lambda body: (503, "text/plain", b"")
    shop.push(document(platform, erp, FINANCE, idempotency=ONCE))
    assert pay(shop).status == 502
    del erp.behaviours["read_invoice"]
    assert not is_replayed(pay(shop))
    assert is_replayed(pay(shop))


@pytest.mark.parametrize(
    "lost",
    [
        (500, "text/plain", b""),
        (200, "text/html", b"<p>"),
        events(note("notifications/message", level="info", data="on it")),
    ],
    ids=["status", "no message", "no answer"],
)
def test_what_may_have_been_carried_out_is_not_carried_out_again(
    shop: Relay, erp: ToolServer, lost: Reply
) -> None:
    erp.behaviours["read_invoice"] = lambda body: lost
    pay(shop)
    del erp.behaviours["read_invoice"]
    answers = [pay(shop) for _ in range(REPEATS)]
    assert len(erp.calls()) == 1
    for answer in answers:
        assert code(answer, 200) == -32000
        assert "not known" in answer.json()["error"]["message"]
    # another call is
    assert not is_replayed(pay(shop, 8))
    assert len(erp.calls()) == 2


def test_a_call_of_a_worker_that_was_killed_is_not_carried_out_again(
    shop: Relay, erp: ToolServer
) -> None:
    gate = erp.behaviours["read_invoice"] = Gate()
    with ThreadPoolExecutor(1) as pool:
        cut_off = pool.submit(pay, shop)
        assert gate.arrived.wait(10)
        for worker in shop.process.workers():
            shop.process.signal_worker(worker, signal.SIGKILL)
        assert cut_off.exception() is not None
    gate.opened.set()
    eventually(lambda: shop.ready().status, lambda status: status == 200, what="readiness")
    assert code(pay(shop), 200) == -32000
    assert len(erp.calls()) == 1


def test_another_key_does_not_get_the_answer_whatever_it_calls_it(
    shop: Relay, erp: ToolServer
) -> None:
    pay(shop, idempotency_key="same")
    other = pay(shop, key=OTHER_KEY, idempotency_key="same")
    assert not is_replayed(other)
    assert not is_replayed(pay(shop, key=OTHER_KEY, idempotency_key="other"))
    assert len(erp.calls()) == 3


def test_a_clients_key_tells_calls_apart(shop: Relay, erp: ToolServer) -> None:
    assert not is_replayed(pay(shop, idempotency_key="one"))
    assert not is_replayed(pay(shop, idempotency_key="two"))
    assert is_replayed(pay(shop, idempotency_key="one"))
    meta = {**META, "idempotencyKey": "two"}
    said = raw("tools/call", meta=meta, name="read_invoice", arguments={"n": 7})
    assert is_replayed(ask(shop, said))
    assert len(erp.calls()) == 2
    # one key is for one call
    assert code(pay(shop, 8, idempotency_key="one"), 200) == -32602
    assert code(ask(shop, said, idempotency_key="three"), 400) == -32020
    assert code(pay(shop, idempotency_key="a b"), 400) == -32602
    assert len(erp.calls()) == 2


def test_a_tool_that_is_not_marked_is_called_as_often_as_it_is_asked(
    shop: Relay, erp: ToolServer
) -> None:
    content = raw("tools/call", name="list_orders", arguments={})
    assert not any(is_replayed(ask(shop, content, idempotency_key="k")) for _ in range(3))
    assert len(erp.calls()) == 3


def test_each_round_of_a_call_is_remembered_by_itself(shop: Relay, erp: ToolServer) -> None:
    erp.behaviours["read_invoice"] = asking_first
    states = {pay(shop).json()["result"]["requestState"] for _ in range(3)}
    assert len(states) == 1
    again = raw("tools/call", name="read_invoice", arguments={"n": 7}, requestState=states.pop())
    answers = [ask(shop, again) for _ in range(3)]
    assert [is_replayed(one) for one in answers] == [False, True, True]
    assert len(erp.calls()) == 2


def test_a_call_is_forgotten_after_its_time(
    shop: Relay, platform: Platform, erp: ToolServer
) -> None:
    shop.push(document(platform, erp, FINANCE, idempotency=Idempotency(tools=("*",), seconds=1)))
    pay(shop)
    assert is_replayed(pay(shop))
    time.sleep(1.1)
    assert not is_replayed(pay(shop))
    assert len(erp.calls()) == 2


def test_an_answer_that_is_too_large_is_not_kept_and_its_call_not_repeated(
    shop: Relay, erp: ToolServer
) -> None:
    large = {"resultType": "complete", "content": [{"type": "text", "text": "x" * 300_000}]}
    erp.behaviours["read_invoice"] = lambda body: result(body, large)
    assert pay(shop).status == 200
    answer = pay(shop)
    assert code(answer, 200) == -32000
    assert "was carried out" in answer.json()["error"]["message"]
    assert len(erp.calls()) == 1


def test_a_revoked_tool_is_denied_to_a_repeat_too(
    shop: Relay, platform: Platform, erp: ToolServer
) -> None:
    pay(shop)
    shop.push(document(platform, erp, ("list_orders",)))
    assert pay(shop).json()["error"]["message"] == "Unknown tool"


def test_a_servers_error_is_an_answer(shop: Relay, erp: ToolServer) -> None:
    erp.behaviours["read_invoice"] = lambda body: (
        400,
        "application/json",
        error(body, -32602, "n is odd"),
    )
    first, second = pay(shop), pay(shop)
    assert (first.status, first.json()) == (second.status, second.json())
    assert is_replayed(second)


def test_repeats_do_not_count_against_a_rate(
    shop: Relay, platform: Platform, erp: ToolServer
) -> None:
    limited = document(platform, erp, FINANCE, idempotency=ONCE, requests_per_minute=60)
    shop.push(limited)
    assert [pay(shop).status for _ in range(60)] == [200] * 60
    assert len(erp.calls()) == 1


@pytest.fixture
def crm() -> Iterator[SessionServer]:
    """Starts a server with sessions."""
    with serving_sessions(SessionServer(tools=[*TOOLS])) as server:
        yield server


def test_a_repeat_in_another_session_is_one(
    relay: Relay, platform: Platform, crm: SessionServer
) -> None:
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE, idempotency=ONCE))
    call = body("tools/call", name="read_invoice", arguments={"n": 1})
    first = say(relay, begun(relay), call)
    again = say(relay, begun(relay), {**call, "id": 9})
    assert is_replayed(again)
    assert again.json() == {**first.json(), "id": 9}
    assert sum(crm.counts.values()) == 1
    assert json.loads(first.body)["id"] == 1
