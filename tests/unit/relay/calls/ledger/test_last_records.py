"""A worker records the attempts of every call that it serves, also of those that it serves on its way out."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.unit.relay.memory import MemoryRelay, call, reply
from tests.unit.relay.outbox.attempts import new_reader

Make = Callable[..., MemoryRelay]


async def test_calls_that_end_or_begin_while_the_process_ends_are_recorded(
    relay_with: Make, tmp_path: Path
) -> None:
    """The supervisor was killed: the loop goes on for a moment after the service was told to stop."""
    token = tmp_path / "token"
    token.write_text("a-token")
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    relay = relay_with(
        settings={
            "ledger_url": "http://ledger.test",
            "ledger_token_file": token,
            "outbox_directory": outbox,
        }
    )
    client, upstream = relay.client(), relay.provider()
    client.send(call(headers="x-request-id: ends\r\n"))
    relay.service.stop()
    upstream.send(reply())
    client.send(call(headers="x-request-id: begins\r\n"))
    upstream.send(reply())
    assert relay.service.records is not None
    relay.service.records.end()
    lines = [json.loads(one.line) for one in new_reader(outbox).read(0.0, most=100)]
    assert {(one["requestId"], one["phase"]) for one in lines} == {
        ("ends", "closed"),
        ("begins", "closed"),
    }
