"""Answers are read the quick way where they are laid out as Prometheus does, and say the same however they are laid out."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.cluster.prometheus import answers
from relay_operator.cluster.prometheus.answers import Reader
from relay_operator.cluster.prometheus.query import Labels
from relay_operator.errors import MetricsUnavailable

POD = ("relay-a", "relay-1")
SINCE = {POD: 10.0}


def answer(*series: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = {"resultType": "matrix", "result": list(series)}
    return {"status": "success", "data": data, **more}


def entry(values: Any, /, **labels: str) -> dict[str, Any]:
    return {"metric": {"namespace": POD[0], "pod": POD[1], **labels}, "values": values}


# what a hostile relay would put into a label to be read as something else
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            '{"metric":',
            ',"values":',
            '"result":[',
            "}]",
            "},",
            "\\",
            '"',
            '{"metric":{"a":"b"},"values":[[1,"2"]]},',
        ]
    ),
)
NAMES = st.sampled_from(["__name__", "route", "side", "values", "metric", "result", "x"])
SERIES = st.builds(
    lambda labels, values: entry(values, **labels),
    st.dictionaries(NAMES, TEXTS, max_size=4),
    st.lists(st.tuples(st.floats(0, 20), st.integers(-1, 9).map(str)), max_size=4).map(sorted),
)


def test_the_times_of_a_pod_hold_for_the_series_that_have_them() -> None:
    """Stale, missing and fractional samples among those of one scrape, twice, so that all series are known."""
    series = [
        entry([[9, "1"], [11, "7"]], x="1"),
        entry([[9, "1"], [11, "8"]], x="2"),
        entry([[11, "9"]], x="3"),
        entry([[9, "1"]], x="4"),
        entry([[9, "1"], [11, "NaN"]], x="5"),
        entry([[9, "1"], [11, "1.5"]], x="6"),
        entry([[9, "1"], [11, "1e300"]], x="7"),
        entry([[9, "1"], [12, "10"]], x="8"),
        entry([], x="9"),
        entry([[9, "1"], [11, "11"]], x="10"),
    ]
    reader = Reader(Labels())
    for content in [orjson.dumps(answer(*series))] * 2 + [orjson.dumps(answer(*series[::-1]))]:
        found = reader.read(content, SINCE)
        values = [(11.0, 1.5), (11.0, 7.0), (11.0, 8.0), (11.0, 9.0), (11.0, 11.0), (12.0, 10.0)]
        assert sorted(sample for one in found for sample in one.samples) == values


@given(
    st.lists(SERIES, max_size=5),
    st.sampled_from([{}, {"infos": ["metric might not be a counter"]}, {"warnings": []}]),
)
def test_both_ways_of_reading_say_the_same(
    series: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    whole = answer(*series, **more)
    compact = orjson.dumps(whole)
    spaced = json.dumps(whole, indent=1).encode()
    turned = orjson.dumps({name: whole[name] for name in reversed(whole)})
    reader = Reader(Labels())
    found = reader.read(compact, SINCE)
    assert reader.read(spaced, SINCE) == found
    assert reader.read(turned, SINCE) == found
    # once more, with every series known
    assert reader.read(compact, SINCE) == found
    expected = [
        [(at, float(value)) for at, value in one["values"] if at > 10 and value != "-1"]
        for one in series
    ]
    assert [samples for _, samples in found] == [one for one in expected if one]


JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b" ", b"\n", b"0", b"_", b"-", b"+", b"e1", b'"', b"["]),
)


@given(JUNK, st.integers(0, 400), st.integers(0, 3), st.integers(11, 12))
def test_a_damaged_answer_is_no_evidence_or_still_an_answer(
    junk: bytes, where: int, cut: int, at: int
) -> None:
    """Also where only a series after the first of its pod is damaged, whose labels are known."""
    series = [entry([[9, "1"], [11, "1"]], x="1"), entry([[9, "0"], [at, "2"]], x="2")]
    content = orjson.dumps(answer(*series))
    damaged = content[:where] + junk + content[where + cut :]
    reader = Reader(Labels())
    reader.read(content, SINCE)
    try:
        read = reader.read(damaged, SINCE)
    except MetricsUnavailable:
        return
    assert Reader(Labels()).read(orjson.dumps(orjson.loads(damaged)), SINCE) == read


def test_labels_that_never_repeat_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_MOST_REMEMBERED_BYTES", 4000)
    reader = Reader(Labels())
    for number in range(1000):
        [found] = reader.read(orjson.dumps(answer(entry([[11, "1"]], x=f"{number:050}"))), SINCE)
        assert found.identity.pod == POD
    assert len(reader._known) < 100
    assert len(reader._interned) < 1000
