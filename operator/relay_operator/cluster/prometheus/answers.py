"""Series from the answer of Prometheus. What a counter cannot be, not a number included, is no sample.

Labels are most of an answer, and the same each time: they are decoded once for each series and found again by their bytes.
"""

from collections.abc import Mapping, Sequence
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
_MOST_QUOTED: Final = 200
_BROKEN: Final = (TypeError, ValueError, KeyError, AttributeError, OverflowError, IndexError)


class Reader:
    """Reads answers. It remembers the series that it has seen."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._identities: dict[bytes, Identity | None] = {}
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
        identities = self._identities
        for piece in pieces:
            middle = piece.find(_VALUES)
            if middle < 0 or piece[-2:] != b"},":
                raise ValueError
            metric = piece[:middle]
            identity = identities.get(metric, _UNSEEN)
            if identity is _UNSEEN:
                identity = self._remember(metric)
            if identity is not None and (since := pods.get(identity.pod)) is not None:
                samples = _newer(orjson.loads(piece[middle + len(_VALUES) : -2]), since)
                if samples:
                    found.append(Series(identity, samples))
        return found

    def _remember(self, metric: bytes) -> Identity | None:
        identity = self._identify(orjson.loads(metric))
        self._remembered_bytes += len(metric)
        if self._remembered_bytes > _MOST_REMEMBERED_BYTES:
            # labels of pods that are gone, or that never say the same twice
            self._identities.clear()
            self._remembered_bytes = len(metric)
        self._identities[metric] = identity
        return identity

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
        return None if namespace is None or pod is None else identity_of((namespace, pod), metric)


_UNSEEN: Final = Identity(("", ""), ("", ""), "", "", 0)


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
