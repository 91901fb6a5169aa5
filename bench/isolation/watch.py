"""Records stalls of a core: `python -m bench.isolation.watch CPU PATH` notes when no process could run on time.

It has the highest priority of the benchmark, so what delays it is the machine or other real-time work, never
the relay. It needs the privilege of a real-time priority; without it nothing is recorded.
"""

import select
import signal
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from bench.isolation import places
from bench.isolation.alarm import NANOSECONDS, Alarm

PERIOD_NANOSECONDS: Final = 2_000_000


def stalls(path: Path, *, longer_than_seconds: float) -> list[float]:
    """Returns the monotonic times at which such stalls ended."""
    flat = array("d")
    flat.frombytes(path.read_bytes())
    return [
        at
        for at, seconds in zip(flat[::2], flat[1::2], strict=True)
        if seconds > longer_than_seconds
    ]


def main(arguments: Iterable[str]) -> int:
    """Watches until SIGTERM, then writes (end, seconds) of every delay above half a millisecond."""
    cpu, path = arguments
    noted = array("d")

    def end(number: int, frame: FrameType | None) -> NoReturn:
        Path(path).write_bytes(noted.tobytes())
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    privileged = places.pin(0, int(cpu), places.WATCH)
    alarm = Alarm()
    poll = select.poll()
    poll.register(alarm.fileno(), select.POLLIN)
    due = time.monotonic_ns()
    while True:
        due += PERIOD_NANOSECONDS
        alarm.set(due)
        poll.poll()
        alarm.acknowledge()
        late = time.monotonic_ns() - due
        if late > PERIOD_NANOSECONDS // 4:
            if privileged:
                noted.extend(((due + late) / NANOSECONDS, late / NANOSECONDS))
            due += late


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
