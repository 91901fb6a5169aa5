"""Measures the CPU time that an attempt costs the outbox: its two records in a worker, and its line in the process that delivers.

A program of its own (`python -m bench.relay --outbox`), since it runs on what is measured: the relay with its hot path compiled. Bursts are short and
the shortest counts, so that other work of the machine takes no part in it.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.attempt_closing import Closing
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.outbox_reader import OutboxReader

ATTEMPTS: Final = 2500
"""Of a burst; they nearly fill a segment, whose empty end is looked at too."""
BURSTS: Final = 50
_KIND: Final = {
    "tenant": "bench",
    "side": "stable",
    "route": "chat",
    "keyName": "production",
    "provider": "legacy",
    "endpoint": "chat.completions",
    "requestedModel": "gpt-4.1",
    "routedModel": "gpt-4.1-2025-04-14",
}
_MODEL: Final = b"gpt-4.1-2025-04-14"
_TIER: Final = b"default"
_REPORT: Final = (
    BilledUsage(input=210, output=48).packed() + bytes((len(_MODEL), len(_TIER))) + _MODEL + _TIER
)


def main() -> None:
    """Prints the least time of both halves, in microseconds an attempt."""
    gc.disable()
    bursts = [_burst() for _ in range(BURSTS)]
    written, made = (min(times) / ATTEMPTS * 1e6 for times in zip(*bursts, strict=True))
    sys.stdout.write(f"outbox: record_us={written:.2f} line_us={made:.2f}\n")


def _burst() -> tuple[float, float]:
    closings = [_closing() for _ in range(ATTEMPTS)]
    calls = [f"{number:032x}" for number in range(ATTEMPTS)]
    with tempfile.TemporaryDirectory(prefix="bench-outbox.") as name:
        writer = AttemptWriter(Path(name), relay="relay-0", most_segments=8, now=0.0)
        names = writer.names(_KIND)

        def write() -> None:
            for call, closing in zip(calls, closings, strict=True):
                opening = writer.open_attempt(
                    names,
                    attempt=1,
                    stream=False,
                    call_id=call,
                    request_id=call,
                    expected=(700, 90),
                )
                writer.close_attempt(names, opening, closing)

        written = _seconds(write)
        writer.end()
        reader = OutboxReader(Path(name), "0b9c5f52-8d4e-4a51-9d0e-5a8f1f5a2f10")
        made = _seconds(lambda: reader.read(0.0, most=ATTEMPTS))
        reader.close()
    return written, made


def _closing() -> Closing:
    return Closing(
        elapsed=1500,
        outcome="ok",
        status=200,
        delivered=True,
        source="provider",
        # as the reading of most answers leaves it
        usage=_REPORT,
        doubt=None,
        answered_model=None,
        service_tier=None,
        upstream_request_id="req_0123456789abcdef",
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
