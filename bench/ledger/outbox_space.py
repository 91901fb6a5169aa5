"""`python -m bench.ledger.outbox_space`: the room that records take in a relay's outbox, and how long an outage of the ledger it holds.

The relay's own writers fill an outbox until nothing fits any more, with names and ids as long as usual ones are: ids of calls of 32 characters, of
requests of 36, of providers' answers of 40. What is told is what was counted.
"""

import sys
import tempfile
import uuid
from pathlib import Path
from typing import Final

from tests.unit.relay.outbox.attempts import closing
from tests.unit.relay_contract.billing.records import tool_call

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.attempt_names import AttemptNames
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.tool_call_writer import (
    MOST_TOOL_SEGMENTS,
    TOOL_SEGMENT_BYTES,
    ToolCallWriter,
)
from relay_contract.billing.tool_call import tool_call_line

MEBIBYTE: Final = 1024 * 1024
ROOM: Final = 64
"""MiB, the chart's ledger.outboxMebibytes."""
NAMES: Final = {
    "tenant": "finance",
    "side": "stable",
    "route": "chat",
    "keyName": "production",
    "provider": "openai",
    "endpoint": "chat.completions",
    "requestedModel": "gpt-4.1",
    "routedModel": "gpt-4.1-2025-04-14",
}
POD: Final = "relay-7d9c6f8b5-x2x7k"
RATES: Final = (1, 10, 50, 100)


def main() -> int:
    """Prints what a record takes, and how long each rate is held."""
    with tempfile.TemporaryDirectory() as directory:
        attempts = attempts_held(Path(directory), mebibytes=ROOM)
    with tempfile.TemporaryDirectory() as directory:
        calls = tool_calls_held(Path(directory))
    tool_room = MOST_TOOL_SEGMENTS * TOOL_SEGMENT_BYTES // MEBIBYTE
    for what, held, room in (("attempt", attempts, ROOM), ("tool call", calls, tool_room)):
        each = room * MEBIBYTE / held
        sys.stdout.write(f"{what}: {held:,} in {room} MiB, {each:,.0f} bytes each\n")
        for rate in RATES:
            hour = rate * 3600 * each / MEBIBYTE
            sys.stdout.write(
                f"  at {rate} a second and pod: {hour:,.1f} MiB an hour, {held / rate / 3600:,.2f} h held\n"
            )
    return 0


def attempts_held(directory: Path, *, mebibytes: int) -> int:
    """Returns how many attempts, opened and closed, an outbox of one worker holds."""
    writer = AttemptWriter(directory, relay=POD, most_segments=mebibytes, now=0)
    names = AttemptNames(1, NAMES)
    ended = closing(
        usage=BilledUsage(input=1200, output=300, cache_read=800),
        answered_model="gpt-4.1-2025-04-14",
        service_tier="default",
        upstream_request_id="req_" + uuid.uuid4().hex + "0000",
    )
    held = 0
    while writer.ensure_room():
        opening = writer.open_attempt(
            names,
            attempt=1,
            stream=True,
            call_id=uuid.uuid4().hex,
            request_id=str(uuid.uuid4()),
            expected=(2000, 1024),
        )
        if not opening:
            break
        writer.close_attempt(names, opening, ended)
        held += 1
    return held


def tool_calls_held(directory: Path) -> int:
    """Returns how many tool calls, opened and ended, the room for them holds."""
    writer = ToolCallWriter(directory, relay=POD)
    held = 0
    while not writer.trouble:
        call = tool_call(
            tenant_uid=str(uuid.uuid4()),
            tenant=NAMES["tenant"],
            relay=POD,
            key_name=NAMES["keyName"],
            round_id=uuid.uuid4().hex,
            call_id=uuid.uuid4().hex,
            request_id=str(uuid.uuid4()),
            revision="9f3c" * 4,
        )
        begun = call.model_copy(update={"outcome": "unknown", "answer_bytes": 0})
        writer.opened(begun.id, begun.called_at, tool_call_line(begun))
        writer.ended(call.id, call.called_at, tool_call_line(call), was_opened=True)
        held += not writer.trouble
    return held


if __name__ == "__main__":
    sys.exit(main())
