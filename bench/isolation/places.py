"""Which process runs where, and what they have to agree on."""

import os
from typing import Final

MODEL: Final = "gpt-4.1"
RELAY_CPU: Final = 0
OTHER_CPU: Final = 1
"""The provider and both generators: on another core than the relays, or they would measure each other."""
WATCH: Final = 20
"""What notes that the machine itself stood still."""
CLOCK: Final = 15
"""What takes the time: it must never wait for what it times."""
MEASURED: Final = 10
"""The relays and the provider."""
LOAD: Final = 5
"""What makes the load: after those that are measured, before everything else on the machine."""


def pin(pid: int, cpu: int, priority: int) -> bool:
    """The process (0 is this one) has that core, before everybody without such a priority: False if not permitted.

    A relay pod has its cores by request and limit; other work on this machine is not what is measured. Without the
    privilege all run as everybody does, and the rounds in which the generator was late are left out.
    """
    os.sched_setaffinity(pid, {cpu % (os.cpu_count() or 1)})
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    return True
