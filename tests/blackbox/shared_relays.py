"""Relays that tests share: each serves some tests, and a new one takes its place.

At every look a relay reports all that it has counted, under all documents that it ever had. After 500 documents of tests an idle one
that looks every 50 ms took a sixth of a processor, and its page of metrics a quarter of a second to parse.
"""

from collections.abc import Callable
from typing import Final

from tests.blackbox.relays import Relay

TESTS_PER_RELAY: Final = 50
LOOK_SECONDS: Final = 0.2
"""Time between two looks of a shared relay at its mounted document."""


class SharedRelay:
    """One of a kind of relays at a time, which start() starts with the directory's number, as soon as a test needs one."""

    def __init__(self, start: Callable[[int], Relay]) -> None:
        self._start = start
        self._started = 0
        self._tests = 0
        self._relay: Relay | None = None

    def for_a_test(self) -> Relay:
        """Returns the relay for one more test; fails if the tests before have ended its process."""
        if self._tests == TESTS_PER_RELAY:
            self.end()
        if self._relay is None:
            self._relay = self._start(self._started)
            self._started += 1
        self._tests += 1
        assert self._relay.process.exit_code is None, self._relay.output()[-4000:]
        return self._relay

    def end(self) -> None:
        """Ends the relay, if there is one, after a last look at its pages of metrics: each has to be one that parses as a whole."""
        relay, self._relay, self._tests = self._relay, None, 0
        if relay is None:
            return
        try:
            if relay.process.exit_code is None:
                assert relay.metrics().samples()
                assert relay.slo().samples()
        finally:
            relay.process.kill()
