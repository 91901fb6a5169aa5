"""A call whose stream may be gone on with: one request tells of it at a time, in whichever worker, and it is booked once."""

import asyncio
import time
from typing import Any, cast

import pytest

from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.resumption import kept_calls
from relay.calls.tool_use.resumption.kept_calls import (
    MOST_ANSWERED,
    MOST_KEPT,
    CallShare,
    ClaimReader,
    KeptCalls,
)
from relay.calls.tool_use.tool_record import ToolRecord
from relay.tools.reading.protocol_errors import ProtocolError

NAME = "uid/production"


class Record:
    """Stands in the place of a record, which needs a tenant's books: notes what is booked."""

    def __init__(self) -> None:
        self.booked: list[str] = []
        self.at = 0.0

    def ended(self, outcome: str, answer_bytes: int, now: float) -> None:
        self.booked.append(outcome)
        self.at = now

    def refused(self, error: ProtocolError, now: float) -> None:
        self.booked.append(error.name)


class Key:
    def __init__(self, name: str) -> None:
        self.name = name


class Tenant:
    uid = "uid"
    keys = ("production", "batch")


class Document:
    tenant = Tenant()


class Snapshot:
    document = Document()


class OneCaller:
    """A caller with one of two keys."""

    snapshot = Snapshot()

    def __init__(self, key: str) -> None:
        self.key = Key(key)


class Reader(ClaimReader):
    """Notes what becomes of a call that it tells of."""

    def __init__(self) -> None:
        self.share: CallShare | None = None
        self.words: list[bool] = []
        self.is_over = False

    def taken_over(self) -> None:
        self.is_over = True

    def claimed(self, share: CallShare | None, *, is_known: bool) -> None:
        self.share = share
        self.words.append(is_known)

    def crashed(self, error: Exception) -> None:
        raise error


class Pod:
    """Workers that tell each other what the supervisor passes on: at once, or when they are let."""

    def __init__(self, workers: int) -> None:
        self.is_slow = False
        self.under_way: list[tuple[int, dict[str, Any]]] = []
        self.workers = [KeptCalls() for _ in range(workers)]
        for number, worker in enumerate(self.workers):
            worker.begin(number, workers, self._sender(number))

    def _sender(self, number: int) -> Any:
        def send(kind: str, *, to: int, **said: Any) -> None:
            assert kind == "kept_call"
            if to < len(self.workers):
                self.under_way.append((to, {**said, "by": number}))
            if not self.is_slow:
                self.arrive()

        return send

    def arrive(self) -> None:
        """Delivers what is under way, in its order, and what is said to it."""
        while self.under_way:
            to, message = self.under_way.pop(0)
            self.workers[to].take_in(message)


def keep(
    worker: KeptCalls,
    record: Record,
    *,
    call: str = "one",
    key: str = "production",
    asked: str = "",
) -> tuple[Reader, CallShare]:
    reader = Reader()
    caller = cast(Caller, OneCaller(key))
    question = question_of(asked or call, key)
    return reader, worker.keep(call, cast(ToolRecord, record), caller, reader, question)


def question_of(asked: str, key: str = "production") -> tuple[str, str, str]:
    return f"uid/{key}", "session", asked


def claim(pod: Pod, by: int, *, of: int = 0, call: str = "one", name: str = NAME) -> Reader:
    reader = Reader()
    pod.workers[by].claim(pod.workers[of].worker, call, name, reader)
    return reader


@pytest.mark.parametrize("by", [0, 1])
async def test_whoever_goes_on_with_a_call_books_it(by: int) -> None:
    pod, record = Pod(2), Record()
    first, share = keep(pod.workers[0], record)
    share.left()
    reader = claim(pod, by)
    assert reader.words == [True]
    assert reader.share is not None
    # what the first one says now is too late
    share.ended("cancelled")
    share.left()
    reader.share.ended("ok", 7)
    reader.share.ended("tool_error")
    assert record.booked == ["ok"]
    assert not first.is_over


@pytest.mark.parametrize("by", [0, 1])
async def test_a_later_request_takes_a_call_over(by: int) -> None:
    pod, record = Pod(2), Record()
    first, _ = keep(pod.workers[0], record)
    second = claim(pod, by)
    third = claim(pod, by)
    assert first.is_over
    assert second.is_over
    assert not third.is_over
    assert second.share is not None
    assert third.share is not None
    third.share.refused(ProtocolError.server_unavailable)
    assert record.booked == ["server_unavailable"]
    # an answer that is had later would be free
    assert claim(pod, by).words == [False]


@pytest.mark.parametrize("by", [0, 1])
async def test_a_call_that_was_answered_is_known_and_booked_no_more(by: int) -> None:
    pod, record = Pod(2), Record()
    _, share = keep(pod.workers[0], record)
    share.ended("ok")
    reader = claim(pod, by)
    assert reader.words == [True]
    assert reader.share is None
    for number in range(MOST_ANSWERED):
        keep(pod.workers[0], record, call=str(number))[1].ended("ok")
    assert claim(pod, by).words == [False]


@pytest.mark.parametrize("by", [0, 1])
async def test_a_call_of_somebody_else_or_another_process_is_unknown(by: int) -> None:
    pod, record = Pod(2), Record()
    keep(pod.workers[0], record)
    assert claim(pod, by, name="uid/batch").words == [False]
    assert claim(pod, by, call="two").words == [False]
    # the same number after a restart, and another pod's
    for worker in ("0.0123456789abcdef", "x.1", ""):
        reader = Reader()
        pod.workers[by].claim(worker, "one", NAME, reader)
        assert reader.words == [False]
    assert record.booked == []


async def test_a_call_that_nobody_goes_on_with_is_booked_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_calls, "KEPT_SECONDS", 0.0)
    pod, record = Pod(1), Record()
    _, share = keep(pod.workers[0], record)
    before = time.monotonic()
    share.left()
    left_by = time.monotonic()
    assert record.booked == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert record.booked == ["cancelled"]
    # it took no longer than its client waited
    assert before <= record.at <= left_by
    # what is booked as cancelled costs nothing, so nobody gets its answer any more
    assert claim(pod, 0).words == [False]


async def test_a_request_that_goes_on_in_time_stops_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_calls, "KEPT_SECONDS", 0.0)
    pod, record = Pod(1), Record()
    _, share = keep(pod.workers[0], record)
    share.left()
    assert claim(pod, 0).words == [True]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert record.booked == []


async def test_calls_that_nobody_reads_are_bounded_and_keys_have_their_share() -> None:
    pod, many, one = Pod(1), Record(), Record()
    for number in range(2 * MOST_KEPT):
        keep(pod.workers[0], many, call=str(number))[1].left()
    # a half is kept in equal parts for the two keys
    assert len(many.booked) == 2 * MOST_KEPT - MOST_KEPT * 3 // 4
    assert set(many.booked) == {"cancelled"}
    keep(pod.workers[0], one, call="other", key="batch")[1].left()
    assert one.booked == []
    pod.workers[0].stop()
    assert one.booked == ["cancelled"]
    assert len(many.booked) == 2 * MOST_KEPT


async def test_room_is_free_again_when_a_call_is_gone_on_with() -> None:
    pod, record = Pod(1), Record()
    for number in range(3 * MOST_KEPT):
        keep(pod.workers[0], record, call=str(number))[1].left()
        reader = claim(pod, 0, call=str(number))
        assert reader.share is not None
        reader.share.ended("ok")
    assert set(record.booked) == {"ok"}


async def test_the_calls_of_a_worker_that_is_gone_wait_for_another() -> None:
    pod, record = Pod(3), Record()
    keep(pod.workers[0], record)
    lost = claim(pod, 1)
    pod.workers[0].take_in({"by": 1, "what": "gone", "call": "", "said": []})
    reader = claim(pod, 2)
    assert reader.share is not None
    assert lost.share is not None
    lost.share.ended("crashed")
    reader.share.ended("ok")
    assert record.booked == ["ok"]


async def test_a_call_that_another_worker_tells_of_when_the_process_ends_is_not_known() -> None:
    pod, record = Pod(2), Record()
    keep(pod.workers[0], record)
    claim(pod, 1)
    pod.workers[0].stop()
    assert record.booked == ["unknown"]


async def test_a_worker_that_says_nothing_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_calls, "CLAIM_SECONDS", 0.0)
    pod, record = Pod(2), Record()
    _, share = keep(pod.workers[0], record)
    share.left()
    asked: list[dict[str, Any]] = []

    def held_up(kind: str, *, to: int, **said: Any) -> None:
        asked.append({**said, "by": 1})

    pod.workers[1].send = held_up
    reader = claim(pod, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reader.words == [False]
    # its word comes too late: the call is given back, for the next request
    pod.workers[0].take_in(asked.pop())
    assert [one["what"] for one in asked] == ["left"]
    pod.workers[0].take_in(asked.pop())
    assert claim(pod, 0).words == [True]
    assert record.booked == []


async def test_a_reader_that_left_when_another_one_had_the_call_parks_nothing() -> None:
    pod, record = Pod(2), Record()
    _, share = keep(pod.workers[0], record)
    share.left()
    first = claim(pod, 1)
    pod.is_slow = True
    second = claim(pod, 1)
    assert first.share is not None
    # it says so before it hears that it is taken over
    first.share.left()
    pod.arrive()
    assert second.words == [True]
    assert second.share is not None
    second.share.ended("ok")
    pod.arrive()
    assert record.booked == ["ok"]


async def test_an_answer_that_was_told_is_booked_although_another_request_claims_the_call() -> None:
    pod, record = Pod(3), Record()
    _, share = keep(pod.workers[0], record)
    share.left()
    first = claim(pod, 1)
    pod.is_slow = True
    second = claim(pod, 2)
    assert first.share is not None
    first.share.ended("ok")
    pod.arrive()
    assert record.booked == ["ok"]
    if second.share is not None:
        second.share.left()
    pod.arrive()
    assert record.booked == ["ok"]


async def test_the_pauses_of_a_call_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_calls, "KEPT_SECONDS", 0.2)
    pod, record = Pod(1), Record()
    _, share = keep(pod.workers[0], record)
    share.left()
    for _ in range(3):
        await asyncio.sleep(0.09)
        reader = claim(pod, 0)
        if reader.share is None:
            break
        reader.share.left()
    await asyncio.sleep(0.05)
    assert record.booked == ["cancelled"]


async def test_nothing_waits_after_the_end_of_the_process() -> None:
    pod, record = Pod(1), Record()
    _, share = keep(pod.workers[0], record)
    pod.workers[0].stop()
    assert record.booked == []
    share.left()
    assert record.booked == ["cancelled"]


@pytest.mark.parametrize("end", ["ok", "", "read"])
@pytest.mark.parametrize("by", [0, 1])
async def test_a_call_is_unknown_once_another_one_has_its_id(by: int, end: str) -> None:
    pod, record = Pod(2), Record()
    _, share = keep(pod.workers[0], record, asked="1")
    if end == "ok":
        share.ended("ok")
    elif not end:
        share.left()
    pod.workers[by].ask_anew(question_of("1", "batch"))
    pod.workers[by].ask_anew(question_of("2"))
    pod.workers[by].ask_anew(question_of("1"))
    assert claim(pod, 0).words == [False]
    if end == "read":
        share.ended("ok")
        assert claim(pod, 0).words == [False]
    assert record.booked == ["cancelled" if not end else "ok"]


async def test_what_is_known_of_ids_goes_with_the_calls() -> None:
    pod, record = Pod(1), Record()
    for number in range(3 * MOST_ANSWERED):
        keep(pod.workers[0], record, call=str(number))[1].ended("ok" if number % 3 else "crashed")
    assert len(pod.workers[0]._asked) == MOST_ANSWERED


@pytest.mark.parametrize("by", [0, 1])
async def test_a_fault_of_whoever_told_of_a_call_ends_its_request_alone(by: int) -> None:
    class Faulty(Reader):
        def taken_over(self) -> None:
            raise ValueError("no")

        def crashed(self, error: Exception) -> None:
            self.is_over = True

    pod, record = Pod(2), Record()
    keep(pod.workers[0], record)
    faulty = Faulty()
    pod.workers[by].claim(pod.workers[0].worker, "one", NAME, faulty)
    reader = claim(pod, by)
    assert faulty.is_over
    assert reader.share is not None
    reader.share.ended("ok")
    assert record.booked == ["ok"]


async def test_a_word_for_the_worker_that_had_its_number_before_is_none_for_a_worker() -> None:
    pod, one, two = Pod(2), Record(), Record()
    keep(pod.workers[0], one, call="one")
    keep(pod.workers[0], two, call="two")
    pod.is_slow = True
    claim(pod, 1, call="one")
    anew = pod.workers[1] = KeptCalls()
    anew.begin(1, 2, pod._sender(1))
    reader = claim(pod, 1, call="two")
    pod.arrive()
    assert reader.words == [True]
    assert reader.share is not None
    reader.share.refused(ProtocolError.server_unavailable)
    pod.arrive()
    assert two.booked == ["server_unavailable"]
    # given back by the new worker, which asked for no such call
    assert claim(pod, 0, call="one").words == [True]
