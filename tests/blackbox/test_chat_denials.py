"""Tools that a chat call may not offer, and calls of tools that an answer may not make: told to the log and booked in the ledger."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.ledgers import BOOKED_SECONDS, BookingLedger
from tests.blackbox.relays import NewRelay
from tests.blackbox.scripted import ScriptedProvider, scripted, unary
from tests.blackbox.tenant import KEY, Platform, provider
from tests.blackbox.test_chat_tools import calling, document, function
from tests.blackbox.test_tool_records import records
from tests.blackbox.waiting import eventually

from relay_contract.tools.manifest import revision

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[BookingLedger]:
    ledger = BookingLedger(tmp_path / "ledger")
    ledger.process.start()
    yield ledger
    ledger.process.end()


def booked(ledger: BookingLedger, query: str, count: int) -> list[tuple[Any, ...]]:
    return eventually(
        lambda: ledger.rows(query),
        lambda rows: len(rows) >= count,
        within_seconds=BOOKED_SECONDS,
        what=f"{count} rows of {query}",
    )


def test_what_chat_is_denied_is_in_log_and_ledger_and_costs_nothing(
    new_relay: NewRelay, platform: Platform, ledger: BookingLedger, tmp_path: Path
) -> None:
    relay = new_relay(document="plain", **ledger.settings(tmp_path / "outbox"))
    with scripted(
        ScriptedProvider([unary(calling("read_invoice")), unary(calling("pay"))])
    ) as model:
        granted = document(platform, providers=[provider("stable", model.url)])
        relay.push(granted)
        many = [function(f"unknown_{number}") for number in range(500)]
        hidden = relay.chat(tools=[function("read_invoice"), *many], headers={"x-request-id": "h"})
        struck = relay.chat(headers={"x-request-id": "s"})
        forced = relay.chat(tool_choice={"type": "function", "function": {"name": "pay"}})
    assert (hidden.status, struck.status, forced.status) == (200, 502, 400)
    written = records(relay, 3)
    assert [(line["method"], line["outcome"], line["rule"]) for line in written] == [
        ("chat.tools", "denied", "onDenied: Hide"),
        ("chat.tool_calls", "denied", "default deny"),
        ("chat.tools", "denied", "default deny"),
    ]
    assert [line["request_id"] for line in written[:2]] == ["h", "s"]
    assert written[0]["name"].startswith("unknown_0, unknown_1, ")
    assert written[0]["name"].endswith(" more")
    assert max(len(json.dumps(line)) for line in written) < 1024
    assert [line["name"] for line in written[1:]] == ["pay", "pay"]
    manifest = granted.tenant.tools
    assert manifest is not None
    of_manifest = revision(manifest, granted.tenant.uid)
    assert {line["manifest_revision"] for line in written} == {of_manifest}
    assert {(line["tenant"], line["key"]) for line in written} == {("finance", "production")}
    # nothing of what was said, and no credential
    for said in ('"a":1', "parameters", KEY):
        assert all(said not in json.dumps(line) for line in written)

    names = "event_id, call_id, method, name, rule, outcome, revision, key_name"
    rows = booked(ledger, f"SELECT {names} FROM tool_calls ORDER BY called_at", 3)
    assert rows == [
        (
            *(line["event_id"], line["call_id"], line["method"], line["name"], line["rule"]),
            *(line["outcome"], of_manifest, "production"),
        )
        for line in written
    ]
    # the usage of both calls says which manifest they were held to
    attempts = booked(ledger, "SELECT manifest_revision FROM postings WHERE side != 'tool'", 2)
    assert attempts == [(of_manifest,)] * 2
    lines = ledger.rows("SELECT line FROM events")
    assert {json.loads(line)["manifestRevision"] for (line,) in lines} == {of_manifest}
    logged = [json.loads(line) for line in relay.output().splitlines() if '"usage"' in line]
    assert [line["manifest_revision"] for line in logged] == [of_manifest] * 2
    assert {line["call_id"] for line in logged} == {line["call_id"] for line in written[:2]}
    assert ledger.rows("SELECT 1 FROM postings WHERE side = 'tool'") == []
    assert ledger.quarantined() == 0
    metrics = relay.metrics()
    assert metrics.total("relay_tool_calls_total", method="chat.tools", outcome="denied") == 2
    assert metrics.total("relay_tool_calls_total", method="chat.tool_calls") == 1
