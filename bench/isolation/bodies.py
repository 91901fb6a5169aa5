"""A neighbour who sends large and odd bodies, one after another, at planned times.

Run as a process of its own: `python -m bench.isolation.bodies PLAN.json`. Each body once cost a relay many times what a
plain one of its size costs, in time or in memory. They name a model that nobody has, so that the relay reads them whole
and no provider does.
"""

import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.isolation import places, rows
from bench.isolation.generator import Plan
from bench.isolation.schedule import Round

MIB: Final = 1024 * 1024
SIZE: Final = 31 * MIB
CHUNKED_SIZE: Final = 4 * MIB
PERIOD_SECONDS: Final = 1.0
DEADLINE_SECONDS: Final = 5.0
_EMOJI: Final = "\U0001f600".encode()


def bodies() -> dict[str, bytes]:
    """Returns the bodies by what is odd about them, but for the one that is odd in how it is sent."""
    text = b"a" * (SIZE // 3 - 100)
    texts = b",".join(b'"' + text + _EMOJI + b'"' for _ in range(3))
    return {
        "model twice": _filled(b'{"model":"a","x":"', b"a", b'","model":"b"}'),
        "empty objects": _filled(b'{"model":"unknown","x":[', b"{},", b"{}]}"),
        "one emoji in each text": b'{"model":"unknown","x":[' + texts + b"]}",
    }


def requests(key: str) -> list[bytes]:
    """Returns the calls, head and body: each body of `bodies`, and a smaller one in chunks of two bytes."""
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    ).encode()
    calls = [
        head + b"content-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies().values()
    ]
    small = b'{"model":"unknown","x":"' + b"a" * (CHUNKED_SIZE - 26) + b'"}'
    chunks = b"".join(b"2\r\n%b\r\n" % small[at : at + 2] for at in range(0, len(small), 2))
    return [*calls, head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"]


def planned_times(planned: Iterable[Round]) -> list[tuple[float, int]]:
    """Returns when each call is due, in seconds from the start of the run, with its round."""
    return [
        (each.begin + turn * PERIOD_SECONDS, each.number)
        for each in planned
        if each.beside
        for turn in range(int((each.end - each.begin) / PERIOD_SECONDS))
    ]


def send(port: int, call: bytes) -> int:
    """Sends one call on a connection of its own; returns the status of its answer, 0 without one."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(call)
            answer = connection.recv(65536)
    except OSError:
        return 0
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def run(plan: Plan) -> list[rows.Row]:
    """Sends what is planned; a call that is due while another is under way follows it at once."""
    calls = requests(plan.key)
    kept = []
    for turn, (at, number) in enumerate(planned_times(plan.rounds)):
        intended_at = plan.start_at + at
        time.sleep(max(0.0, intended_at - time.monotonic()))
        sent_at = time.monotonic()
        status = send(plan.port, calls[turn % len(calls)])
        kept.append(rows.Row(intended_at, sent_at, time.monotonic(), 0.0, status, 1, number))
    return kept


def _filled(start: bytes, repeated: bytes, end: bytes) -> bytes:
    return start + repeated * ((SIZE - len(start) - len(end)) // len(repeated)) + end


def main(arguments: Iterable[str]) -> int:
    """Runs a plan."""
    (path,) = arguments
    plan = Plan.load_from(Path(path))
    places.pin(0, plan.cpu, places.LOAD)
    rows.write(Path(plan.rows_path), run(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
