"""Makes a process that was forked from the supervisor a worker."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from typing import NoReturn


def become_worker(run: Callable[[], int], *, keep: set[int]) -> NoReturn:
    """Turns this process, a fork of the supervisor inside its running loop, into a worker until it ends.

    The supervisor's objects stay referenced by the frames below us and are never touched again; its descriptors are
    closed under them, so that no port or channel outlives the supervisor because of us.
    """
    code = os.EX_SOFTWARE
    try:
        gc.freeze()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in keep:
                _close(int(name))
        asyncio.events._set_running_loop(None)
        code = run()
    finally:
        os._exit(code)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        # the listing's own descriptor is gone by now
        return
