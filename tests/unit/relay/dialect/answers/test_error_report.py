"""Errors as providers report them, and whose doing they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.answers.error_report import ErrorReport, read_error

OPENAI_CALLER = {"message": "m", "type": "invalid_request_error", "param": None, "code": None}


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": OPENAI_CALLER}, 400),
        ({"error": OPENAI_CALLER | {"code": "context_length_exceeded"}}, 400),
        ({"error": OPENAI_CALLER | {"code": "invalid_api_key"}}, 401),
        ({"error": OPENAI_CALLER | {"code": "model_not_found"}}, 404),
        ({"error": {"type": "server_error"}}, 500),
        ({"error": {"message": "m"}}, 500),
        ({"error": "boom"}, 500),
        ({"error": "Input validation error", "error_type": "validation"}, 422),
        ({"error": "busy", "error_type": "overloaded"}, 503),
        ({"error": {"code": "1301", "message": "m"}}, 500),
        ({"error": {"code": 0, "type": "RateLimitError"}}, 429),
        ({"error": {"message": "m"}, "status_code": 400}, 400),
        ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], 400),
        ({"type": "error", "error": {"type": "overloaded_error"}}, 503),
        ({"object": "error", "type": "BadRequestError", "code": 400}, 400),
        ({"object": "error", "type": "NotFoundError", "code": 404}, 404),
        ({"type": "error", "code": "server_error", "message": "m"}, 500),
        ({"choices": [{"error": {"code": 502}}]}, 502),
        ({"choices": [{"finish_reason": "error"}]}, 500),
        ({"type": "response.failed", "response": {"error": {"code": "image_too_large"}}}, 400),
        ({"type": "response.failed", "response": {"error": None}}, 500),
        ({"type": "response.failed"}, 500),
        ({"object": "response", "status": "failed", "error": None}, 500),
        ({"error": True, "code": 400}, 400),
        ({"error": 503}, 503),
        ({"error": {"status": "429 Too Many Requests"}}, 429),
        ({"error": {"code": "4291", "type": "ThrottlingException"}}, 429),
    ],
)
def test_the_status_that_would_say_the_same_is_found(document: object, status: int) -> None:
    error = read_error(document)
    assert error is not None
    assert error.status == status


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"message": {"content": "error"}, "finish_reason": "stop"}]},
        {"error": None, "choices": []},
        {"error": ""},
        {"error": False},
        {"id": "r", "status": "completed", "error": None},
        {"type": "response.completed", "response": {"error": None}},
        {"output": [{"type": "mcp_call", "error": "no such tool"}]},
        [],
        [1],
        None,
        "error",
        7,
    ],
)
def test_an_answer_is_no_error(document: object) -> None:
    assert read_error(document) is None


def test_an_event_that_is_named_error_is_one_whatever_it_holds() -> None:
    assert read_error(None, event=b"error") is not None
    assert read_error({"message": "m"}, event=b"error") is not None
    assert read_error({"message": "m"}, event=b"message") is None


def of(**details: Any) -> ErrorReport:
    return ErrorReport(details, {})


def test_what_the_caller_cannot_cause_is_not_the_callers() -> None:
    callers = [of(code=code) for code in (400, 409, 413, 415, 422)]
    assert all(error.is_callers for error in callers)
    others = [of(code=code) for code in (401, 402, 403, 404, 429, 500, 503)]
    others += [
        of(type="invalid_request_error", code="model_not_found"),
        of(code=400, type="billing_error"),
    ]
    assert not any(error.is_callers for error in others)


def test_moderation_is_the_callers_under_any_status() -> None:
    assert of(code=403, metadata={"flagged_input": "x"}).is_callers


def test_only_quota_and_overload_say_that_the_call_was_not_taken() -> None:
    assert [code for code in range(400, 600) if of(code=code).unprocessed] == [429, 503, 529]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "code", "type", "status", "message", "choices", "response", "metadata", "object"])
        | st.text(max_size=5),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(document=JSON, event=st.sampled_from([b"", b"error", b"message"]))
def test_whatever_a_provider_sends_is_read(document: object, event: bytes) -> None:
    error = read_error(document, event=event)
    if error is not None:
        assert 400 <= error.status < 600
