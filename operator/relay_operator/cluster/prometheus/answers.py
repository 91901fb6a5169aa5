"""Series from the answer of Prometheus. What a counter cannot be, not a number included, is no sample.

Labels are most of an answer, and the same each time: they are decoded once for each series and found again by their bytes, mostly
as those that followed the series before it the last time. All series of a scrape have the same times: those of the first one of a
pod are decoded, and compared with the others'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from relay_operator.cluster.prometheus.query import Labels
from relay_operator.decisions.analysis.scrapes import Identity, PodName, Series, identity_of
from relay_operator.errors import MetricsUnavailable

_LARGEST_COUNT: Final = 2.0**53
"""Beyond this a counter cannot count one more."""
_MOST_REMEMBERED_BYTES: Final = 48 * 1024 * 1024
"""Of labels: those of 100,000 series."""
_RESULT: Final = b'"result":['
_METRIC: Final = b'{"metric":'
_VALUES: Final = b',"values":'
_MOST_DIGITS: Final = 15
_MOST_QUOTED: Final = 200
_BROKEN: Final = (TypeError, ValueError, KeyError, AttributeError, OverflowError, IndexError)


@dataclass(slots=True)
class _Known:
    """A series by its labels as an answer has them, up to its samples. following is the one that came after it the last time."""

    head: bytes
    identity: Identity | None
    following: "_Known | None" = None


class _Times:
    """The times of a pod's samples in one answer: what stands between their values, and the only one that is news, if so."""

    __slots__ = ("_between", "_news", "_since")

    def __init__(self, tail: bytes, since: float) -> None:
        self._since, self._news = since, 0.0
        self._between = tail.split(b'"')[::2]
        stamps = [at for at, _ in _decoded(tail)]
        newer = [at for at in stamps if at > since]
        if len(newer) == 1 and newer == stamps[-1:]:
            self._news = newer[0]

    def samples(self, tail: bytes) -> list[tuple[float, float]]:
        """Reads the samples of a series that are news."""
        if self._news:
            parts = tail.split(b'"')
            if parts[::2] == self._between:
                value = parts[-2]
                # whole numbers, as of nearly every counter
                if value.isdigit() and len(value) <= _MOST_DIGITS:
                    return [(self._news, float(value))]
        return _newer(_decoded(tail), self._since)


class Reader:
    """Reads answers. It remembers the series that it has seen."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._known: dict[bytes, _Known] = {}
        self._interned: dict[Any, Any] = {}
        self._remembered_bytes = 0

    def read(self, content: bytes, pods: Mapping[PodName, float]) -> list[Series]:
        """Returns the series of these pods, with the samples that are newer than the time given for each.

        Raises MetricsUnavailable unless the answer is a whole range of samples.
        """
        try:
            return self._quickly(content, pods)
        except _BROKEN:
            # valid all the same, perhaps: with spaces, or in another order
            pass
        try:
            return self._slowly(content, pods)
        except _BROKEN as error:
            raise MetricsUnavailable("Prometheus answered something else than samples") from error

    def _quickly(self, content: bytes, pods: Mapping[PodName, float]) -> list[Series]:
        """Reads an answer that is laid out as Prometheus, Thanos and Mimir do.

        A quotation mark within a label is escaped, so none of what is searched for can stand in one. Nothing is held for longer
        than it takes to look at a series: an answer has a million parts.
        """
        head, *pieces = content.split(_METRIC)
        if not pieces or not head.endswith(_RESULT):
            # without a series nothing is large
            raise ValueError
        pieces[-1], tail = _last(pieces[-1])
        _check(orjson.loads(head + tail))
        found = []
        times: dict[PodName, _Times] = {}
        known = _Known(b"", None)
        for piece in pieces:
            following = known.following
            if following is None or not piece.startswith(following.head):
                following = known.following = self._find(piece)
            known = following
            identity = known.identity
            if identity is None or (since := pods.get(identity[0])) is None:
                continue
            tail = piece[len(known.head) :]
            shared = times.get(identity[0])
            if shared is None:
                shared = times[identity[0]] = _Times(tail, since)
            samples = shared.samples(tail)
            if samples:
                found.append(Series(identity, samples))
        return found

    def _find(self, piece: bytes) -> _Known:
        middle = piece.find(_VALUES)
        if middle < 0 or piece[-2:] != b"},":
            raise ValueError
        known = self._known.get(piece[: middle + len(_VALUES)])
        return self._remember(piece[:middle]) if known is None else known

    def _remember(self, metric: bytes) -> _Known:
        identity = self._identify(orjson.loads(metric))
        self._remembered_bytes += len(metric)
        if self._remembered_bytes > _MOST_REMEMBERED_BYTES:
            # labels of pods that are gone, or that never say the same twice
            self._known.clear()
            self._interned.clear()
            self._remembered_bytes = len(metric)
        known = _Known(metric + _VALUES, identity)
        self._known[known.head] = known
        return known

    def _slowly(self, content: bytes, pods: Mapping[PodName, float]) -> list[Series]:
        found = []
        for entry in _check(orjson.loads(content)):
            identity = self._identify(entry["metric"])
            if identity is not None and (since := pods.get(identity.pod)) is not None:
                samples = _newer(entry.get("values", ()), since)
                if samples:
                    found.append(Series(identity, samples))
        return found

    def _identify(self, metric: Mapping[str, str]) -> Identity | None:
        """Returns what a series is about; None without the labels of a pod."""
        namespace = metric.get(self._labels.namespace_label)
        pod = metric.get(self._labels.pod_label)
        if namespace is None or pod is None:
            return None
        once = self._interned.setdefault
        # one object for what many series have in common: less memory, and found faster
        parts = identity_of((namespace, pod), metric)
        return Identity(*(once(part, part) for part in parts))


def _last(piece: bytes) -> tuple[bytes, bytes]:
    """Splits the last series, as if another followed, from what follows the result."""
    end = piece.index(b"}]")
    return piece[:end] + b"},", piece[end + 1 :]


def _check(answer: Any) -> list[Any]:
    """Returns the result of an answer. Raises MetricsUnavailable for a partial one, ValueError for another form."""
    data = answer["data"]
    if answer.get("warnings"):
        raise MetricsUnavailable(f"Prometheus' answer is not whole: {_quoted(answer['warnings'])}")
    result = data["result"]
    if answer["status"] != "success" or data["resultType"] != "matrix":
        raise ValueError("not a range of samples")
    if not isinstance(result, list):
        raise TypeError("no list")
    return result


def _decoded(tail: bytes) -> Any:
    """Returns the samples of a series; raises ValueError where it ends otherwise than one that another follows."""
    if tail[-2:] != b"},":
        raise ValueError
    return orjson.loads(tail[:-2])


def _newer(values: Sequence[tuple[float, str]], since: float) -> list[tuple[float, float]]:
    samples = []
    for at, text in reversed(values):
        if at <= since:
            break
        value = float(text)
        if 0 <= value <= _LARGEST_COUNT:
            samples.append((at, value))
    if len(samples) > 1:
        samples.reverse()
    return samples


def _quoted(warnings: Any) -> str:
    text = str(warnings[0] if isinstance(warnings, list) else warnings)
    return "".join(one for one in text if one.isprintable())[:_MOST_QUOTED]
