"""`python -m bench.fleet.sampled_operator NAME`: an operator whose stacks can be sampled, as it is started in a pod but for its name.

SIGUSR2 begins, and SIGUSR2 once more writes to the file FLEET_PROFILE.NAME how often each stack was seen, a line each as flame graphs
take it. Samples are of the processor's time: what only waits has none, and unlike in a profile no call is dearer than it is.
"""

import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from relay_operator.main import main

_SECONDS: Final = 0.001
"""Of processor time; the kernel looks at its own ticks only."""


class Samples:
    """How often each stack was seen."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: Counter[str] = Counter()
        self._is_begun = False

    def begin_or_end(self, *_: object) -> None:
        """Begins, or ends and writes what was seen."""
        self._is_begun = not self._is_begun
        pause = _SECONDS if self._is_begun else 0
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, pause, pause)
        if not self._is_begun:
            lines = (f"{stack} {times}\n" for stack, times in self._seen.most_common())
            self._file.write_text("".join(lines))

    def _take(self, _: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_name}")
            frame = frame.f_back
        self._seen[";".join(reversed(stack))] += 1


if __name__ == "__main__":
    name = sys.argv.pop()
    # two operators on one host are two pods
    socket.gethostname = lambda: name
    if "FLEET_PROFILE" in os.environ:
        samples = Samples(Path(f"{os.environ['FLEET_PROFILE']}.{name}"))
        signal.signal(signal.SIGUSR2, samples.begin_or_end)
    main()
