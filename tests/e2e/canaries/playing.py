"""Plays many stories at once: a story is a generator that acts, and yields what it waits for."""

import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from tests.demo.commands import DemoFailed

LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Until:
    """A wait of a story. shown is asked for the message when the time is over."""

    what: str
    good: Callable[[], bool]
    seconds: float
    shown: Callable[[], object]


Script = Generator[Until, None, None]


@dataclass(slots=True)
class Result:
    """The end of a story: how long it took, and what went wrong, if anything."""

    seconds: float = 0.0
    error: Exception | None = None
    where: str = ""

    def check(self) -> None:
        """Raises what went wrong."""
        if self.error is not None:
            raise AssertionError(f"{self.error}\n{self.where}") from self.error


@dataclass(slots=True)
class _Playing:
    script: Script
    result: Result
    wait: Until | None = None
    deadline: float = field(default=0.0)


def play(
    scripts: Mapping[str, Script], *, ended: Callable[[str], None] = lambda _: None
) -> dict[str, Result]:
    """Plays stories until each has ended; one that fails does not keep the others from going on.

    ended is called with the name of each that has.
    """
    began = time.monotonic()
    playing = {name: _Playing(script, Result()) for name, script in scripts.items()}
    results = {name: one.result for name, one in playing.items()}
    while playing:
        for name, one in list(playing.items()):
            if _advance(one):
                one.result.seconds = time.monotonic() - began
                del playing[name]
                ended(name)
        time.sleep(LOOK_SECONDS)
    return results


def _advance(one: _Playing) -> bool:
    """Goes on with a story whose wait is over; returns whether it has ended."""
    try:
        wait = one.wait
        if wait is not None and not wait.good():
            if time.monotonic() < one.deadline:
                return False
            raise DemoFailed(
                f"waited {wait.seconds:g} s for {wait.what}; last seen: {wait.shown()}"
            )
        one.wait = next(one.script)
        one.deadline = time.monotonic() + one.wait.seconds
    except StopIteration:
        return True
    except Exception as error:  # any fault of one story; the others are played to their ends
        one.result.error, one.result.where = error, traceback.format_exc()
        one.script.close()
        return True
    return False
