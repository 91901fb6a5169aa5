"""Lines made of the outbox's records are those of the contract, to the byte."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.extensions import extension
from tests.unit.relay.outbox.attempts import (
    FIELDS,
    TENANT_UID,
    call_id,
    closed_body,
    closing,
    new_reader,
    new_writer,
    open_attempt,
    opening_of,
    read_all,
)
from tests.unit.relay.outbox.plain_lines import PlainLine, WithC, loaded

from hatch_build import PLAIN_LINES
from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.attempt_names import label
from relay.outbox.event_lines import EventLines, UnreadableRecord
from relay.outbox.record_format import (
    CLOSED,
    DOUBTS,
    EXPECTED,
    OPENED,
    OUTCOMES,
    SOURCES,
    Found,
)
from relay_contract.billing.attempt_event import COUNTED, AttemptClosed
from relay_contract.billing.event_line import UnreadableEvent, event_line, read_event
from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets

_texts = st.text(max_size=300) | st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300
)
_names = orjson.dumps({**FIELDS, "relay": "relay-0", "keyName": 'a "key" of 100 %'})
_named = st.sampled_from(
    [_names, orjson.dumps({**orjson.loads(_names), "manifestRevision": "5f" * 16})]
)
_lines = EventLines(TENANT_UID)


def _openings() -> st.SearchStrategy[bytes]:
    return st.builds(
        opening_of,
        dispatched_at=st.integers(0, 4_000_000_000_000_000),
        attempt=st.integers(1, 1000),
        stream=st.booleans(),
        call_id=st.integers(0, 2**128 - 1).map(call_id),
        request_id=st.text(max_size=128),
    )


_BILLED = ({"delivered": True}, {"delivered": False}, {"delivered": False, "abandoned": True})
_expected = st.builds(BilledUsage, input=st.integers(0, 10**7), output=st.integers(0, 10**7))


@st.composite
def _closings(draw: st.DrawFn) -> Any:
    source = draw(st.sampled_from(SOURCES))
    counts = st.integers(0, 10**8)
    usage = BilledUsage(
        input=draw(counts),
        cache_read=draw(counts),
        cache_write=draw(counts),
        cache_write_hour=draw(counts),
        output=draw(counts),
        reasoning=draw(counts),
        audio_input=draw(counts),
        audio_output=draw(counts),
        web_search=draw(st.integers(0, 10_000)),
        web_fetch=draw(st.integers(0, 10_000)),
        cache_reported=draw(st.booleans()),
        region=draw(st.none() | _texts),
    )
    return closing(
        elapsed=draw(st.integers(0, 10**11)),
        outcome=draw(st.sampled_from(OUTCOMES)),
        status=draw(st.just(0) | st.integers(100, 599)),
        **draw(st.sampled_from(_BILLED)),
        source=source,
        usage=usage if source in COUNTED else None,
        expected=draw(st.none() | _expected) if source == "unknown" else None,
        doubt=draw(st.sampled_from(DOUBTS)),
        answered_model=draw(st.none() | _texts),
        service_tier=draw(st.none() | _texts),
        upstream_request_id=draw(st.none() | _texts),
    )


@pytest.fixture(scope="session")
def plain_line() -> PlainLine:
    """The function in C, built from these sources."""
    return loaded(extension(PLAIN_LINES))


@given(
    opening=_openings(),
    names=_named,
    expected=st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
)
def test_what_was_opened_is_a_record_of_the_contract(
    opening: bytes, names: bytes, expected: tuple[int, int]
) -> None:
    line = _lines.line(Found(OPENED, 1, opening + EXPECTED.pack(*expected)), names)
    record = read_event(line)
    assert record.manifest_revision == orjson.loads(names).get("manifestRevision", "")
    assert record.phase == "opened"
    assert event_line(record) == line
    reserved = TokenBuckets(input=expected[0], output=expected[1])
    assert record.reserved_tokens == (reserved if any(expected) else None)


@given(opening=_openings(), names=_named)
def test_a_record_of_a_former_version_tells_what_it_told_before(
    opening: bytes, names: bytes
) -> None:
    """Written by a relay that did not say what was expected, and delivered again by one that does: the ledger has it, and no other."""
    line = _lines.line(Found(OPENED, 1, opening), names)
    record = read_event(line)
    assert event_line(record) == line
    assert record.reserved_tokens is None
    new = json.loads(_lines.line(Found(OPENED, 1, opening + EXPECTED.pack(700, 90)), names))
    assert new.pop("reservedTokens") == {"input": 700, "output": 90}
    assert new == json.loads(line)


@pytest.mark.parametrize("size", [size for size in range(1, 20) if size != EXPECTED.size])
def test_what_was_expected_is_read_whole_or_not_at_all(size: int) -> None:
    with pytest.raises(UnreadableRecord):
        _lines.line(Found(OPENED, 1, _OPENING + b"\1" * size), _names)


@pytest.mark.parametrize("expected", [(10**9 + 1, 0), (0, 2**32 - 1), (6 * 10**8, 6 * 10**8)])
def test_what_no_attempt_can_use_is_not_expected_either(expected: tuple[int, int]) -> None:
    """The checksum of a record is right, so the ledger keeps its line apart, as it does with what an attempt cannot have used."""
    line = _lines.line(Found(OPENED, 1, _OPENING + EXPECTED.pack(*expected)), _names)
    with pytest.raises(UnreadableEvent, match="reservedTokens"):
        read_event(line)


@given(opening=_openings(), ended=_closings(), names=_named)
def test_what_was_closed_is_a_record_of_the_contract(
    opening: bytes, ended: Any, names: bytes
) -> None:
    line = _lines.line(Found(CLOSED, 1, closed_body(opening, ended)), names)
    record = read_event(line)
    assert record.manifest_revision == orjson.loads(names).get("manifestRevision", "")
    assert isinstance(record, AttemptClosed)
    assert event_line(record) == line
    assert (record.outcome, record.usage_source, record.doubt) == (
        ended.outcome,
        ended.source,
        ended.doubt,
    )
    assert record.closed_at - record.dispatched_at == ended.elapsed
    assert (record.delivered, record.abandoned) == (ended.delivered, ended.abandoned)
    usage, expected = ended.usage, ended.expected
    if expected is not None and (expected.input or expected.output):
        reserved = TokenBuckets(input=expected.input, output=expected.output)
        assert record.reserved_tokens == reserved
    else:
        assert record.reserved_tokens is None
    if usage is not None:
        assert record.tokens == TokenBuckets(
            input=usage.input,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            cache_write_hour=usage.cache_write_hour,
            output=usage.output,
            reasoning=usage.reasoning,
            audio_input=usage.audio_input,
            audio_output=usage.audio_output,
        )
        assert record.units == BilledUnits(web_search=usage.web_search, web_fetch=usage.web_fetch)
        assert record.cache_reported is usage.cache_reported


@given(opening=_openings(), ended=_closings(), names=_named)
def test_c_and_python_write_the_same_line(
    plain_line: PlainLine, opening: bytes, ended: Any, names: bytes
) -> None:
    found = Found(CLOSED, 1, closed_body(opening, ended))
    assert WithC(_lines, plain_line).line(found, names) == _lines.line(found, names)


_OPENED: dict[str, Any] = {
    "dispatched_at": 1_700_000_000_000_000,
    "attempt": 1,
    "stream": False,
    "call_id": call_id(1),
    "request_id": "req-1",
}
_OPENING = opening_of(**_OPENED)
_BODY = closed_body(_OPENING, closing())
_PIECES = (b"",) * 11


def _no_id(_: bytes) -> str:
    return "0"


def test_most_lines_are_written_in_c(plain_line: PlainLine) -> None:
    with_c = WithC(_lines, plain_line)
    ends: tuple[dict[str, Any], ...] = (
        {},
        {"usage": None, "source": "unknown", "doubt": "total", "status": 0},
        {"outcome": "no_key", "delivered": False, "service_tier": "x" * 255},
        {"answered_model": " !#[]~", "upstream_request_id": None},
    )
    for changed in ends:
        found = Found(CLOSED, 1, closed_body(_OPENING, closing(**changed)))
        assert with_c.line(found, _names) == _lines.line(found, _names)
    assert with_c.written == 4


@pytest.mark.parametrize("text", ['"', "\\", "\x1f", "\x7f", "é", "\n"])
@pytest.mark.parametrize(
    "field", ["answered_model", "service_tier", "upstream_request_id", "region", "request_id"]
)
def test_a_text_that_is_escaped_or_replaced_is_left_to_python(
    plain_line: PlainLine, field: str, text: str
) -> None:
    opening = _OPENING
    changed: dict[str, Any] = {field: f"a{text}b"}
    if field == "request_id":
        opening, changed = opening_of(**_OPENED | changed), {}
    elif field == "region":
        changed = {"usage": BilledUsage(input=1, region=f"a{text}b")}
    found = Found(CLOSED, 1, closed_body(opening, closing(**changed)))
    with_c = WithC(_lines, plain_line)
    assert with_c.line(found, _names) == _lines.line(found, _names)
    assert with_c.written == 0


@pytest.mark.parametrize("size", range(0, 150, 3))
def test_a_body_that_is_not_whole_is_no_plain_line(plain_line: PlainLine, size: int) -> None:
    body = closed_body(_OPENING, closing())
    assert plain_line(body, _PIECES, _no_id) is not None
    assert plain_line(body[: min(size, len(body) - 1)], _PIECES, _no_id) is None
    assert plain_line(body + b"x", _PIECES, _no_id) is None


@pytest.mark.parametrize(("place", "value"), [(10, 10), (11, 5), (12, 7)])
def test_a_number_that_means_nothing_is_left_to_python(
    plain_line: PlainLine, place: int, value: int
) -> None:
    body = bytearray(closed_body(_OPENING, closing()))
    body[len(_OPENING) + place] = value
    assert plain_line(bytes(body), _PIECES, _no_id) is None
    with pytest.raises(UnreadableRecord):
        _lines.line(Found(CLOSED, 1, bytes(body)), _names)


@pytest.mark.parametrize("byte", [0x00, 0x1F, 0x22, 0x5C])
def test_a_damaged_id_of_an_attempt_of_unknown_use_makes_no_line(
    plain_line: PlainLine, byte: int
) -> None:
    end = closing(usage=None, source="unknown", expected=BilledUsage(input=1))
    body = bytearray(closed_body(_OPENING, end))
    body[body.index(_OPENED["call_id"].encode())] = byte
    found = Found(CLOSED, 1, bytes(body))
    for lines in (_lines, WithC(_lines, plain_line)):
        with pytest.raises(UnreadableRecord):
            lines.line(found, _names)


def test_a_line_that_has_no_room_is_left_to_python(plain_line: PlainLine) -> None:
    body = closed_body(_OPENING, closing())
    for size, fits in ((7000, True), (8192, False), (10_000, False)):
        line = plain_line(body, (*_PIECES[:8], b"x" * size, *_PIECES[9:]), _no_id)
        assert (line is not None) is fits


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"", _PIECES),
        (b"", _PIECES[1:], _no_id),
        ("", _PIECES, _no_id),
        (b"", (None,) * len(_PIECES), _no_id),
        (_BODY, _PIECES, None),
        (_BODY, _PIECES, bytes),
    ],
)
def test_arguments_of_another_type_are_refused(
    plain_line: PlainLine, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError):
        plain_line(*arguments)


@pytest.mark.parametrize("model", ["x" * 1000, "line\nbreak\x7f", "模型" * 200])
def test_a_model_that_a_caller_made_up_makes_no_record_unreadable(
    tmp_path: Path, model: str
) -> None:
    writer = new_writer(tmp_path)
    names = writer.names({**FIELDS, "requestedModel": model})
    writer.close_attempt(names, open_attempt(writer, names, 1), closing(answered_model=model))
    writer.end()
    (parcel,) = read_all(new_reader(tmp_path))
    record = read_event(parcel.line)
    assert record.requested_model == label(model)


@pytest.mark.parametrize(
    "names",
    [
        b"",
        b"{",
        b"[]",
        orjson.dumps(FIELDS),
        orjson.dumps({**FIELDS, "relay": "relay-0", "later": "x"}),
        orjson.dumps({**FIELDS, "relay": 7}),
    ],
)
def test_names_of_another_version_make_no_line(names: bytes) -> None:
    opening = opening_of(
        dispatched_at=1, attempt=1, stream=False, call_id=call_id(1), request_id=""
    )
    for found in (Found(OPENED, 1, opening), Found(CLOSED, 1, closed_body(opening, closing()))):
        with pytest.raises(UnreadableRecord):
            EventLines(TENANT_UID).line(found, names)


def test_a_copy_of_a_call_has_an_id_of_its_own(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    stable = writer.names(FIELDS)
    shadow = writer.names({**FIELDS, "side": "shadow"})
    for names in (stable, shadow):
        opening = open_attempt(writer, names, 1)
        writer.close_attempt(names, opening, closing(delivered=False))
    writer.end()
    lines = [json.loads(parcel.line) for parcel in read_all(new_reader(tmp_path))]
    assert [line["attemptId"] for line in lines] == [
        f"{call_id(1)}-1",
        f"{call_id(1)}-shadow-1",
    ]
