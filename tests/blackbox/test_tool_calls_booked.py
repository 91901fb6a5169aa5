"""Every call of a tool reaches the ledger once, whoever is killed on the way."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.ledgers import BOOKED_SECONDS, BookingLedger, kill, shippers, workers
from tests.blackbox.relays import NewRelay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.tool_calls import FINANCE, SECRET, call, document
from tests.blackbox.tool_server import ToolServer, called, result
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import raw

from relay_contract.tools.manifest import ToolLimit

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[BookingLedger]:
    ledger = BookingLedger(tmp_path / "ledger")
    ledger.process.start()
    yield ledger
    ledger.process.end()


def booked(ledger: BookingLedger, count: int) -> list[tuple[Any, ...]]:
    """Waits for so many tool calls, and returns them as they were called."""

    def look() -> list[tuple[Any, ...]]:
        return ledger.rows(
            "SELECT request_id, outcome, server, name, rule, key_name, relay FROM tool_calls"
            " ORDER BY called_at"
        )

    found = eventually(
        look,
        lambda rows: len(rows) >= count,
        within_seconds=BOOKED_SECONDS,
        what=f"{count} tool calls in the ledger",
    )
    assert len(found) == count
    return found


def test_calls_are_booked_once_across_kills_of_ledger_relay_and_shipper(
    new_relay: NewRelay, platform: Platform, erp: ToolServer, ledger: BookingLedger, tmp_path: Path
) -> None:
    relay = new_relay(document="plain", **ledger.settings(tmp_path / "outbox"))
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE))
    assert call(relay, "read_invoice", x_request_id="first").status == 200
    call(relay, "pay", x_request_id="denied")
    first, denied = booked(ledger, 2)
    assert first[:4] == ("first", "ok", "erp", "read_invoice")
    assert first[5:] == ("production", "relay-0")
    assert denied[:5] == ("denied", "denied", "", "pay", "")

    ledger.process.kill()
    assert call(relay, "read_invoice", x_request_id="meanwhile").status == 200
    # what the shipper has read is lost with it, and read again by the next
    kill(shippers(relay))
    release, asked = threading.Event(), threading.Event()

    def hangs(body: dict[str, Any]) -> Any:
        asked.set()
        release.wait(30)
        return result(body, called(body["params"]))

    erp.behaviours["read_invoice"] = hangs
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "read_invoice",
        "x-request-id": "under-way",
    }
    try:
        with Wire(relay.port) as wire:
            wire.send(request_bytes("POST", "/mcp", fields, raw("tools/call", name="read_invoice")))
            assert asked.wait(10)
            kill(workers(relay))
        ledger.process.start()
        rows = booked(ledger, 4)
    finally:
        release.set()
    assert [(row[0], row[1]) for row in rows] == [
        ("first", "ok"),
        ("denied", "denied"),
        ("meanwhile", "ok"),
        ("under-way", "unknown"),
    ]
    # nothing comes twice, or as something else, once all is delivered
    erp.behaviours.pop("read_invoice")
    eventually(
        lambda: call(relay, "read_invoice", x_request_id="last").status == 200,
        bool,
        what="a worker that serves again",
    )
    assert booked(ledger, 5)[-1][:2] == ("last", "ok")
    assert ledger.quarantined() == 0


def test_calls_that_a_limit_refuses_take_no_room_of_those_that_are_paid(
    new_relay: NewRelay, platform: Platform, erp: ToolServer, ledger: BookingLedger, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    ledger.process.kill()
    relay = new_relay(document="plain", **ledger.settings(outbox))
    relay.give_key("tools-erp", SECRET)
    limits = (ToolLimit(name="read_*", requests_per_minute=6),)
    relay.push(document(platform, erp, FINANCE, tool_limits=limits))
    assert call(relay, "read_invoice", x_request_id="served").status == 200
    call(relay, "read_invoice", x_request_id="limited")
    kept = eventually(
        lambda: [one.read_bytes() for one in outbox.rglob("*") if one.is_file()],
        lambda texts: any(b'"limited"' in text for text in texts),
        what="the record of a call beyond its limit",
    )
    paid = [text for text in kept if b"served" in text]
    assert paid
    assert not any(b"limited" in text for text in paid)
