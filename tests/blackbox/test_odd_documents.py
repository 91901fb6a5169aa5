"""What providers say that no strict reader takes, and deeper than anyone writes: read as far as it goes, never a failure of
the relay."""

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import GOOD_STREAM, Script, ScriptedProvider, scripted, stream, unary
from tests.blackbox.tenant import Platform, provider, route
from tests.blackbox.test_usage import usage_lines


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


ERRORS = {
    "half of a surrogate pair": rb'{"error":{"message":"m \ud800","code":"\udfff"}}',
    "a number beyond 64 bits": b'{"x":NaN,"error":{"message":"m ?","code":1%b}}' % (b"0" * 30),
    "a code nested 300 deep": b'{"error":{"message":"m ?","code":%b}}' % nested(300),
    "a parameter nested 1000 deep": b'{"error":{"message":"m ?","param":%b}}' % nested(1000),
}


def outcome_of(relay: Relay, name: str) -> str:
    (event,) = usage_lines(relay, name)
    outcome: str = event["outcome"]
    return outcome


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_that_cannot_be_repeated_as_it_is_reaches_the_caller_as_the_providers(
    relay: Relay, platform: Platform, error: bytes, streamed: bool
) -> None:
    script: Script = stream(b"data: %b\n\n" % error) if streamed else unary(error)
    name = f"odd-error-{streamed}-{abs(hash(error))}"
    with scripted(ScriptedProvider([script])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        answer = relay.chat(stream=streamed, headers={"x-request-id": name})
    assert answer.status == 502
    assert answer.error()["message"] == "m ?"
    assert outcome_of(relay, name) == "failed"
    assert "internal_error" not in relay.output()


def test_a_list_as_error_is_an_error_without_words(relay: Relay, platform: Platform) -> None:
    body = b'{"error":%b}' % (b"[" * 1015 + b"1" + b"]" * 1015)
    with scripted(ScriptedProvider([unary(body)])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        answer = relay.chat()
    assert answer.status == 502
    assert answer.error()["message"] == "The provider reported an error without a message."


@pytest.mark.parametrize("depth", [500, 1000])
def test_content_nested_deeper_than_anyone_writes_is_passed_on(
    relay: Relay, platform: Platform, depth: int
) -> None:
    unary_body = b'{"choices":[{"index":0,"message":{"content":%b}}]}' % (nested(depth))
    event = b'data: {"choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % nested(depth)
    with scripted(ScriptedProvider([unary(unary_body), stream(event + GOOD_STREAM)])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        names = [f"deep-{depth}-{kind}" for kind in ("unary", "stream")]
        answer = relay.chat(headers={"x-request-id": names[0]})
        assert (answer.status, answer.body) == (200, unary_body)
        asked = {"include_usage": True}
        answer = relay.chat(stream=True, stream_options=asked, headers={"x-request-id": names[1]})
        assert (answer.status, answer.body) == (200, event + GOOD_STREAM)
    assert [outcome_of(relay, name) for name in names] == ["ok", "ok"]
    assert "internal_error" not in relay.output()


@pytest.mark.parametrize("depth", [490, 505])
def test_a_call_nested_as_deep_as_json_may_be_is_served_on_a_route_with_a_canary(
    relay: Relay, platform: Platform, depth: int
) -> None:
    relay.push(platform.document(routes=[route(canary="canary", canary_percent=50)]))
    body = chat_body(messages=[]).replace(
        b'"messages":[]', b'"messages":[{"role":"user","content":%b}]' % nested(depth)
    )
    assert relay.ask("POST", CHAT, body=body).status == 200
