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


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 3))
def test_a_damaged_answer_is_no_evidence_or_still_an_answer(
    junk: bytes, where: int, cut: int
) -> None:
    content = orjson.dumps(answer(entry([[11, "1"]], x="1"), entry([[12, "2"]], x="2")))
    damaged = content[:where] + junk + content[where + cut :]
    try:
        read = Reader(Labels()).read(damaged, SINCE)
    except MetricsUnavailable:
        return
    assert Reader(Labels()).read(orjson.dumps(orjson.loads(damaged)), SINCE) == read


def test_labels_that_never_repeat_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_MOST_REMEMBERED_BYTES", 4000)
    reader = Reader(Labels())
    for number in range(1000):
        [found] = reader.read(orjson.dumps(answer(entry([[11, "1"]], x=f"{number:050}"))), SINCE)
        assert found.identity.pod == POD
    assert len(reader._identities) < 100
