"""The provider's decisions: who may call, what is refused, what is counted."""

from typing import Any

import orjson
import pytest
from tests.simulator.behaviour import Behaviour, Fault
from tests.simulator.provider import Plan, Provider, Request
from tests.simulator.records import Record

CHAT = b"/v1/chat/completions"


class Calls:
    """A provider and the way to call it."""

    def __init__(self, behaviour: Behaviour, *, allow_override: bool = False) -> None:
        self.provider = Provider(
            behaviour, recorded_requests=10, allow_override=allow_override, seed=7, now=0.0
        )

    def call(
        self,
        target: bytes = CHAT,
        *,
        method: bytes = b"POST",
        headers: dict[bytes, bytes] | None = None,
        now: float = 0.0,
        **fields: Any,
    ) -> tuple[Plan, Record]:
        body = orjson.dumps({"model": "gpt-4.1", "messages": [], **fields})
        request = Request(method, target, list((headers or {}).items()), body)
        record = self.provider.records.opened(
            at=now,
            method=method.decode(),
            target=target.decode(),
            headers=request.headers,
            body=body,
            connection=1,
        )
        return self.provider.plan(request, record, now=now, unix_time=1000.0), record


def error_of(plan: Plan) -> dict[str, Any]:
    error: dict[str, Any] = orjson.loads(plan.body)["error"]
    return error


def test_a_call_without_the_key_is_openais_401() -> None:
    plan, _ = Calls(Behaviour(api_key="k")).call(headers={b"authorization": b"Bearer wrong"})
    assert (plan.status, error_of(plan)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [{b"authorization": b"Bearer k"}, {b"api-key": b"k"}, {b"x-api-key": b"k"}],
    ids=["bearer", "api-key", "x-api-key"],
)
def test_the_key_is_accepted_in_every_usual_header(headers: dict[bytes, bytes]) -> None:
    plan, _ = Calls(Behaviour(api_key="k")).call(headers=headers)
    assert plan.status == 200


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"POST", b"/v1/unknown", 404),
        (b"GET", CHAT, 405),
        (b"POST", b"/v1/models", 405),
        (b"GET", b"/v1/models/absent", 404),
        (b"GET", b"/v1/models/gpt-4.1", 200),
        (b"GET", b"/v1/models?limit=2", 200),
    ],
)
def test_paths_and_methods_answer_like_openai(method: bytes, target: bytes, status: int) -> None:
    plan, _ = Calls(Behaviour()).call(target, method=method)
    assert plan.status == status


def test_a_strict_provider_knows_only_its_models() -> None:
    calls = Calls(Behaviour(models=("m",), strict_models=True))
    plan, _ = calls.call(model="other")
    assert (plan.status, error_of(plan)["code"]) == (404, "model_not_found")
    assert calls.call(model="m")[0].status == 200


def test_above_its_quota_it_answers_429_with_an_honest_retry_after() -> None:
    calls = Calls(Behaviour(requests_per_minute=60))
    assert calls.call()[0].status == 200
    plan, _ = calls.call()
    assert plan.status == 429
    headers = dict(plan.headers)
    wait = int(headers[b"retry-after-ms"]) / 1000
    assert wait <= int(headers[b"retry-after"]) <= wait + 1
    assert calls.call(now=wait)[0].status == 200


def test_the_first_errors_are_exactly_as_many_as_asked() -> None:
    calls = Calls(Behaviour(error_first=2, error_status=503, retry_after="1"))
    plans = [calls.call()[0] for _ in range(4)]
    assert [plan.status for plan in plans] == [503, 503, 200, 200]
    assert (b"retry-after", b"1") in plans[0].headers


def test_a_redirect_says_where_to() -> None:
    plan, _ = Calls(Behaviour(error_percent=100, error_status=307)).call()
    assert plan.status == 307
    assert dict(plan.headers)[b"location"] == b"/v1/elsewhere"


def test_extra_headers_stand_on_good_and_bad_answers() -> None:
    for percent in (0, 100):
        extra = {"x-extra": "1"}
        plan, _ = Calls(Behaviour(error_percent=percent, extra_headers=extra)).call()
        assert dict(plan.headers)[b"x-extra"] == b"1"


def test_errors_come_at_their_rate() -> None:
    calls = Calls(Behaviour(error_percent=20))
    failed = sum(calls.call()[0].status == 500 for _ in range(2000))
    assert 340 < failed < 460


def test_one_calls_header_overrides_the_behaviour_only_where_allowed() -> None:
    headers = {b"x-simulate": b'{"fault": "reset"}'}
    assert Calls(Behaviour()).call(headers=headers)[0].fault is None
    allowed = Calls(Behaviour(), allow_override=True)
    assert allowed.call(headers=headers)[0].fault is Fault.RESET
    assert allowed.call()[0].fault is None
    assert allowed.call(headers={b"x-simulate": b"{"})[0].status == 400


def test_a_previous_response_is_known_only_to_its_creator() -> None:
    calls = Calls(Behaviour())
    plan, _ = calls.call(b"/v1/responses", input="hi")
    created = orjson.loads(plan.body)["id"]
    again, _ = calls.call(b"/v1/responses", input="go on", previous_response_id=created)
    assert again.status == 200
    refused, _ = Calls(Behaviour()).call(
        b"/v1/responses", input="go on", previous_response_id=created
    )
    assert (refused.status, error_of(refused)["code"]) == (400, "previous_response_not_found")


def test_gzip_is_used_only_when_accepted() -> None:
    calls = Calls(Behaviour(gzip=True))
    plain, _ = calls.call()
    packed, _ = calls.call(headers={b"accept-encoding": b"gzip, deflate"})
    assert b"content-encoding" not in dict(plain.headers)
    assert (dict(packed.headers)[b"content-encoding"], packed.body[:2]) == (b"gzip", b"\x1f\x8b")


def test_counts_follow_endpoint_model_and_status_and_reset_clears_them() -> None:
    calls = Calls(Behaviour())
    for model in ("a", "a", "b"):
        calls.call(model=model)
    calls.call(b"/v1/unknown")
    stats = calls.provider.records.as_json()
    assert stats["by_endpoint"]["chat/completions"] == 3
    assert stats["by_model"] == {"a": 2, "b": 1, "": 1}
    assert stats["by_status"] == {"200": 3, "404": 1}
    calls.provider.reset(now=0.0)
    assert calls.provider.records.as_json()["requests"] == 0


def test_recorded_credentials_are_digests() -> None:
    _, record = Calls(Behaviour()).call(headers={b"authorization": b"Bearer secret"})
    shown = record.as_json()
    # printf 'Bearer secret' | sha256sum
    digest = "bffde20413347b7a00e1363de3f97ca69e419dc0aea55f4a4a75018fab3a0e8e"
    assert shown["headers"] == [["authorization", f"sha256:{digest}"]]
