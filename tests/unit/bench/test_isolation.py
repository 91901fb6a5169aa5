"""What the isolation benchmark concludes from its differences, and what its neighbour with odd bodies sends."""

import json
import re

import pytest
from bench.isolation.bodies import CHUNKED_SIZE, SIZE, bodies, planned_times, requests
from bench.isolation.conclusion import Found, Verdict, last_line, verdict
from bench.isolation.intervals import Difference
from bench.isolation.schedule import rounds

from relay.dialect.request_body import MAX_MODEL_CHARACTERS


def added(delta_ms: float, lower_ms: float, upper_ms: float) -> Difference:
    return Difference(0.001, 0.001 + delta_ms / 1000, lower_ms / 1000, upper_ms / 1000)


CONTROLS = [Found(added(3000, 2900, 3100), control=True), Found(added(90, 80, 99), control=True)]
BODIES = [
    Found(added(40, 30, 50), control=False, bodies=True),
    Found(added(4000, 3000, 5000), control=True, bodies=True),
]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (added(0.0, -0.1, 0.1), added(0.2, 0.0, 0.4), "met"),
        (added(0.0, -3.0, 3.0), added(0.0, -1.0, 1.0), "met"),
        (added(5.0, 4.0, 6.0), added(0.0, -0.1, 0.1), "missed"),
        # pauses of the machine in both arms: no answer about the relay, and no refusal either
        (added(0.5, -9.0, 11.0), added(0.0, -0.1, 0.1), "open"),
        (added(0.5, -9.0, 11.0), added(5.0, 4.0, 6.0), "missed"),
    ],
)
def test_the_goal_is_met_missed_or_open(
    first: Difference, second: Difference, expected: Verdict
) -> None:
    found = [Found(first, control=False), Found(second, control=False), *CONTROLS, *BODIES]
    assert verdict(found) == expected


def test_the_last_line_holds_the_worse_case_and_the_smaller_control() -> None:
    found = [
        Found(added(0.1, 0.0, 0.5), control=False),
        Found(added(0.4, 0.3, 0.45), control=False),
        *CONTROLS,
        *BODIES,
    ]
    assert last_line(found) == (
        "isolation: delta_p99_ms=0.10 upper95_ms=0.50 control_delta_p99_ms=90.00 "
        "bodies_delta_p99_ms=40.00 bodies_upper95_ms=50.00 bodies_control_delta_p99_ms=4000.00"
    )


def test_odd_bodies_are_whole_and_name_a_model_that_nobody_has() -> None:
    for name, body in bodies().items():
        assert SIZE - 1000 < len(body) <= SIZE, name
        document = json.loads(body)
        assert document["model"] == ("b" if name == "model twice" else "unknown")
        assert len(document["model"]) < MAX_MODEL_CHARACTERS


def test_each_odd_body_is_sent_in_a_frame_of_its_size() -> None:
    *framed, chunked = requests("key")
    assert len(framed) == len(bodies())
    for request, body in zip(framed, bodies().values(), strict=True):
        head, _, rest = request.partition(b"\r\n\r\n")
        assert rest == body
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        assert int(length[1]) == len(body)
    head, _, rest = chunked.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest.endswith(b"\r\n0\r\n\r\n")
    chunks = rest.removesuffix(b"0\r\n\r\n").split(b"\r\n")
    assert set(chunks[0:-1:2]) == {b"2"}
    body = b"".join(chunks[1::2])
    assert len(body) == CHUNKED_SIZE
    assert json.loads(body)["model"] == "unknown"


def test_odd_bodies_come_in_the_rounds_beside_them_alone() -> None:
    planned = rounds(3, seconds=8.0, seed=1)
    times = planned_times(planned)
    beside = {each.number: each for each in planned if each.beside}
    assert len(times) == 3 * 8
    for at, number in times:
        assert beside[number].begin <= at < beside[number].end
