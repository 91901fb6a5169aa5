"""Measures how long each watch has been silent, by the bytes that its connection brought."""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from relay_operator.cluster.metrics.catalogue import WATCH_AGE

SAMPLE_SECONDS: Final = 0.5
"""Sets the time between looks at the connections, and so how exact an age is."""


class Stream(Protocol):
    """The body of a watch as it arrives. total_bytes is what has come so far."""

    total_bytes: int


class _Watch:
    __slots__ = ("heard_at", "heard_bytes", "stream")

    def __init__(self, now: float) -> None:
        self.heard_at, self.heard_bytes = now, 0
        self.stream: Stream | None = None


class WatchAges:
    """Ages of the watches of one life of the operator. Times are seconds of one clock.

    A connection that opens is no sign: an API server, or what stands before it, may take a watch and send nothing. A bookmark is,
    which comes about once a minute where nothing happens.
    """

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def begin(self, watches: Iterable[str], *, now: float) -> None:
        """Forgets all, and expects these from now on, whether they ever open or not."""
        WATCH_AGE.clear()
        self._watches = {name: _Watch(now) for name in watches}
        self._show(now)

    def opened(self, name: str, stream: Stream, *, now: float) -> None:
        """Takes in a new connection of a watch."""
        self.sample(now)
        watch = self._watches.setdefault(name, _Watch(now))
        watch.stream, watch.heard_bytes = stream, 0

    def sample(self, now: float) -> None:
        """Looks at every connection."""
        for watch in self._watches.values():
            if watch.stream is not None and watch.stream.total_bytes != watch.heard_bytes:
                watch.heard_at, watch.heard_bytes = now, watch.stream.total_bytes
        self._show(now)

    def unopened(self) -> bool:
        """Tells whether one that is expected has not been opened yet, which follows the end of the first list of its kind."""
        return any(watch.stream is None for watch in self._watches.values())

    def silent(self, seconds: float, *, now: float) -> Iterator[str]:
        """Goes through the watches that have brought nothing for so long."""
        return (name for name, one in self._watches.items() if now - one.heard_at >= seconds)

    def age(self, name: str, *, now: float) -> float:
        """Returns for how long a watch has brought nothing; 0 for one that is not expected."""
        watch = self._watches.get(name)
        return 0.0 if watch is None else now - watch.heard_at

    def _show(self, now: float) -> None:
        for name, watch in self._watches.items():
            WATCH_AGE.labels(name).set(now - watch.heard_at)
