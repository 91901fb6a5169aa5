"""The cores of the processes, and constants they share."""

import os
from typing import Final

MODEL: Final = "gpt-4.1"
RELAY_CPU: Final = 0
OTHER_CPU: Final = 1
"""Core of the provider and both generators: not the relays' core, or they would measure each other."""
WATCH: Final = 20
"""Priority of the process that records stalls of the machine."""
CLOCK: Final = 15
"""Priority of the generator that measures: it must never wait for what it measures."""
MEASURED: Final = 10
"""Priority of the relays and the provider."""
LOAD: Final = 5
"""Priority of the neighbour's generator: below those that are measured, above everything else on the machine."""


def pin(pid: int, cpu: int, priority: int) -> bool:
    """Pins the process (0 is this one) to the core with a real-time priority; returns False if not permitted.

    A relay pod has its cores by request and limit; other work on this machine must not be measured. Without the
    privilege all run at normal priority, and the machine's other work widens the interval.
    """
    os.sched_setaffinity(pid, {cpu % (os.cpu_count() or 1)})
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    return True
