"""Records go to the ledger in batches, stay until it has them, and are divided where it asks for that."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.outbox.attempts import (
    FIELDS,
    closing,
    new_reader,
    new_writer,
    open_attempt,
)
from tests.unit.relay_contract.billing.records import tool_call

from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.segment_files import segments
from relay.outbox.tool_call_reader import ToolCallReader
from relay.outbox.tool_call_writer import DIRECTORY, ToolCallWriter
from relay.process.shipping import shipper as shipper_module
from relay.process.shipping.delivery import Answer
from relay.process.shipping.shipper import Shipper
from relay.process.shipping.shippers import Shippers
from relay_contract.billing.delivery import MAX_BATCH_BYTES, MAX_BATCH_LINES
from relay_contract.billing.tool_call import tool_call_line

TAKEN = Answer(200)
AWAY = Answer(0, "ConnectionRefusedError")


class ScriptedLedger:
    """A ledger that answers what it is told to, the last answer again and again."""

    def __init__(self, *answers: Answer | Callable[[list[bytes]], Answer]) -> None:
        self._answers = list(answers)
        self.batches: list[list[bytes]] = []

    async def deliver(self, lines: list[bytes]) -> Answer:
        await asyncio.sleep(0)
        self.batches.append(lines)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer if isinstance(answer, Answer) else answer(lines)


class Lines:
    """The log lines that were written."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def event(self, level: str, event: str, **fields: Any) -> None:
        self.events.append((level, event, fields))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper_module, "READ_SECONDS", 0.0)
    monkeypatch.setattr(shipper_module, "FINAL_PAUSE", 0.0)
    monkeypatch.setattr(shipper_module, "PAUSES", (0.0, 0.0))


def _written(directory: Path, attempts: int) -> AttemptWriter:
    writer = new_writer(directory, most_segments=4096)
    names = writer.names(FIELDS)
    for number in range(attempts):
        writer.close_attempt(names, open_attempt(writer, names, number), closing())
    writer.end()
    return writer


async def _shipped(directory: Path, ledger: ScriptedLedger) -> tuple[Shipper, Lines]:
    log = Lines()
    reader = new_reader(directory)
    shipper = Shipper(reader, ledger, log.event, calm_bytes=0)
    shipper.finish(60)
    async with asyncio.timeout(30):
        await shipper.run()
    shipper.close()
    reader.close()
    return shipper, log


def _value(shipper: Shipper, name: str) -> float:
    ((_, value),) = shipper.report()[name]
    return float(value)


async def test_everything_goes_in_batches_of_the_contract_and_the_files_go(tmp_path: Path) -> None:
    _written(tmp_path, 2500)
    ledger = ScriptedLedger(TAKEN)
    shipper, _ = await _shipped(tmp_path, ledger)
    assert sum(len(batch) for batch in ledger.batches) == 2500
    assert max(len(batch) for batch in ledger.batches) == MAX_BATCH_LINES
    assert all(sum(len(line) + 1 for line in batch) <= MAX_BATCH_BYTES for batch in ledger.batches)
    assert _value(shipper, "relay_outbox_records_shipped_total") == 2500
    assert segments(tmp_path) == []


@pytest.mark.parametrize("answer", [AWAY, Answer(503), Answer(401), Answer(403), Answer(500)])
async def test_what_is_not_taken_is_sent_again_as_it_was(tmp_path: Path, answer: Answer) -> None:
    _written(tmp_path, 10)
    ledger = ScriptedLedger(answer, answer, TAKEN)
    shipper, log = await _shipped(tmp_path, ledger)
    assert ledger.batches[0] == ledger.batches[1] == ledger.batches[2]
    assert _value(shipper, "relay_outbox_records_shipped_total") == 10
    told = [event for _, event, _ in log.events]
    expected = "ledger_refuses" if answer.is_refused else "ledger_away"
    # once, not for each attempt
    assert told == [expected, "ledger_back"]


async def test_a_batch_that_is_too_long_is_divided_until_it_is_not(tmp_path: Path) -> None:
    _written(tmp_path, 100)
    ledger = ScriptedLedger(lambda lines: Answer(413) if len(lines) > 7 else TAKEN)
    shipper, _ = await _shipped(tmp_path, ledger)
    taken = [line for batch in ledger.batches if len(batch) <= 7 for line in batch]
    assert len(taken) == len(set(taken)) == 100
    assert _value(shipper, "relay_outbox_records_shipped_total") == 100


async def test_what_the_ledger_keeps_apart_is_done_with_and_told(tmp_path: Path) -> None:
    _written(tmp_path, 5)
    shipper, log = await _shipped(tmp_path, ScriptedLedger(Answer(200, quarantined=2)))
    assert _value(shipper, "relay_outbox_records_quarantined_total") == 2
    assert ("error", "records_quarantined", {"count": 2}) in log.events


async def test_a_ledger_that_is_away_to_the_end_keeps_the_files(tmp_path: Path) -> None:
    _written(tmp_path, 5)
    reader = new_reader(tmp_path)
    shipper = Shipper(reader, ScriptedLedger(AWAY), Lines().event, calm_bytes=0)
    shipper.finish(0.0)
    await shipper.run()
    shipper.close()
    reader.close()
    assert segments(tmp_path)
    assert _value(shipper, "relay_outbox_records_shipped_total") == 0


async def test_the_age_of_the_oldest_record_is_known(tmp_path: Path) -> None:
    _written(tmp_path, 5)
    reader = new_reader(tmp_path)
    shipper = Shipper(reader, ScriptedLedger(AWAY), Lines().event, calm_bytes=0)
    assert _value(shipper, "relay_outbox_oldest_seconds") == 0
    shipper.finish(0.0)
    await shipper.run()
    assert _value(shipper, "relay_outbox_records_waiting") == 5
    assert 0 < _value(shipper, "relay_outbox_oldest_seconds") < 600
    shipper.close()
    reader.close()


async def test_a_ledger_that_knows_no_tool_calls_takes_attempts_and_leaves_the_calls_where_they_are(
    tmp_path: Path,
) -> None:
    """A relay of a newer version than its ledger: nothing of either is lost."""
    _written(tmp_path, 10)
    writer = ToolCallWriter(tmp_path, relay="relay-0")
    call = tool_call()
    writer.ended(call.id, call.called_at, tool_call_line(call), was_opened=False)
    writer.end()
    attempts, older, newer = (
        ScriptedLedger(TAKEN),
        ScriptedLedger(Answer(404)),
        ScriptedLedger(TAKEN),
    )
    for calls in (older, newer):
        reader = new_reader(tmp_path)
        calls_reader = ToolCallReader(tmp_path / DIRECTORY, "uid")
        shippers = Shippers(
            attempts=Shipper(reader, attempts, Lines().event, calm_bytes=0),
            tool_calls=Shipper(calls_reader, calls, Lines().event, calm_bytes=0),
        )
        shippers.finish(1.0)
        async with asyncio.timeout(30):
            await shippers.run()
        report = shippers.report()
        shippers.close()
        reader.close()
        calls_reader.close()
        assert segments(tmp_path) == []
        assert len(segments(tmp_path / DIRECTORY)) == (calls is older)
    assert len(older.batches) > 1
    assert newer.batches == [[tool_call_line(call)]]
    assert sum(map(len, attempts.batches)) == 10
    # a call is no attempt
    assert report["relay_outbox_attempts_closed_total"] == [((), 0)]
    assert report["relay_outbox_records_shipped_total"] == [((), 1)]
