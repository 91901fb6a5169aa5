"""Asyncio in virtual time: waiting costs nothing, and every clock of a test agrees.

The loop never sleeps. When no task can go on, time jumps to the next timer; tasks then run in the order in which they
would have run. No thread and no socket may take part: nothing would wake the loop.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from tests.unit.relay_operator.in_memory_api_server import FakeClock

P = ParamSpec("P")


class _JumpingSelector(selectors.SelectSelector):
    """Moves the clock instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("every task waits for something that nobody will do")
        self._clock.now += max(timeout, 0.0)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a fake clock's: seconds since the epoch."""

    def __init__(
        self, selector: Callable[[FakeClock], selectors.BaseSelector] | None = None
    ) -> None:
        self.clock = FakeClock()
        super().__init__((selector or _JumpingSelector)(self.clock))
        # a timer of epoch size is off by fractions of a microsecond; without this the loop would wait for those
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.clock.now


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test in a virtual-time loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def running_clock() -> FakeClock:
    """Returns the clock of the running virtual-time loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.clock
