"""Conversations by previous_response_id: continued by who stores them, over workers, pods and documents, and never hopped."""

from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay
from tests.blackbox.scripted import ScriptedProvider, scripted, stream, unary
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import Answer

from relay_contract.document import Document, Side

RESPONSES = "/v1/responses"
Upstreams = dict[str, Upstream]


def asked(relay: Relay, said: str, previous: str | None = None, **fields: Any) -> Answer:
    """Makes a call, as one turn of a conversation."""
    body: dict[str, Any] = {"model": "gpt-4.1", "input": said, **fields}
    if previous is not None:
        body["previous_response_id"] = previous
    return relay.ask("POST", RESPONSES, body=orjson.dumps(body))


def identifier(answer: Answer) -> str:
    assert answer.status == 200, answer
    if not (answer.header("content-type") or "").startswith("text/event-stream"):
        found: str = answer.json()["id"]
        return found
    ids = {event["response"]["id"] for event in events(answer) if "response" in event}
    assert len(ids) == 1, ids
    return str(ids.pop())


def events(answer: Answer) -> list[dict[str, Any]]:
    lines = answer.body.split(b"\n")
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


class Split:
    """A route with a canary at some percent, the same for every pod."""

    def __init__(self, platform: Platform) -> None:
        self.stable: Side = side("stable")
        self.canary: Side = side("canary")
        self._platform = platform

    def at(self, percent: int, **fields: Any) -> Document:
        fields = {"name": f"r-{self.canary.fingerprint}", "salt": "s", **fields}
        one = route(self.stable, self.canary, canary_percent=percent, **fields)
        return self._platform.document(routes=[one])


@pytest.fixture
def split(platform: Platform) -> Split:
    return Split(platform)


@pytest.fixture
def pods(new_relay: NewRelay, split: Split) -> list[Relay]:
    """Two pods of two workers each, with a canary at 50 %."""
    document = split.at(50)
    return [new_relay(document=document, workers="2") for _ in range(2)]


@pytest.mark.parametrize("is_stream", [False, True], ids=["unary", "stream"])
def test_conversations_go_on_over_all_workers_and_pods(
    pods: list[Relay], upstreams: Upstreams, is_stream: bool
) -> None:
    conversations, turns = 30, 3
    for number in range(conversations):
        previous = None
        for turn in range(turns):
            answer = asked(
                pods[(number + turn) % 2], f"{number} {turn}", previous=previous, stream=is_stream
            )
            previous = identifier(answer)
    served = [upstreams[name].calls() for name in ("stable", "canary")]
    assert sum(served) == conversations * turns
    # each conversation on one side, and both sides had some
    assert all(calls and calls % turns == 0 for calls in served), served


def test_the_provider_gets_its_own_id_and_the_caller_the_one_it_gave(
    relay: Relay, split: Split, canary: Upstream
) -> None:
    relay.push(split.at(100))
    first = identifier(asked(relay, "one"))
    answer = asked(relay, "two", previous=first)
    assert answer.json()["previous_response_id"] == first
    one, two = canary.received()
    assert "previous_response_id" not in one.json()
    own = two.json()["previous_response_id"]
    assert first.startswith(own)
    assert first != own
    assert two.body == one.body.replace(b'"one"', b'"two"')[:-1] + (
        b',"previous_response_id":"%b"}' % own.encode()
    )


OWN = "resp_68af4030592c81938ec0a5fbab4a3e9f"
UNARY = b"""{
  "id": "%b", "object": "response", "status": "completed", "output": [{"id": "msg_1", "type": "message",
  "role": "assistant", "content": [{"type": "output_text", "text": "its id is \\"%b\\""}]}],
  "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
}"""
STREAMED = b"""event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"%b","object":"response"}}

: a comment

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","delta":"so it is %b"}

event: response.completed
data: {"type":"response.completed","sequence_number":2,"response":{"id":"%b","status":"completed"}}

"""


@pytest.mark.parametrize("is_stream", [False, True], ids=["unary", "stream"])
def test_an_answer_is_changed_in_nothing_but_the_id(
    relay: Relay, platform: Platform, is_stream: bool
) -> None:
    own = OWN.encode()
    body = STREAMED % (own, own, own) if is_stream else UNARY % (own, own)
    with scripted(ScriptedProvider([stream(body) if is_stream else unary(body)])) as other:
        there = [provider("stable", other.url), provider("canary", other.url)]
        split = route("stable", "canary", canary_percent=50)
        relay.push(platform.document(providers=there, routes=[split]))
        answer = asked(relay, "one", stream=is_stream)
        marked = identifier(answer).encode()
        assert marked.startswith(own)
        expected = (STREAMED % (marked, own, marked)) if is_stream else UNARY % (marked, own)
        assert answer.body == expected
        # and where stable alone has a weight, nothing at all
        relay.push(platform.document(providers=there, routes=[route("stable", "canary")]))
        assert asked(relay, "one", stream=is_stream).body == body


@pytest.mark.parametrize("percent", [0, 1, 100])
def test_a_conversation_follows_its_creator_whatever_the_weight(
    relay: Relay, split: Split, upstreams: Upstreams, percent: int
) -> None:
    made = {}
    for name, start in (("stable", 0), ("canary", 100)):
        relay.push(split.at(start))
        made[name] = identifier(asked(relay, "one"))
    relay.push(split.at(percent))
    for name, previous in made.items():
        before = upstreams[name].calls()
        assert identifier(asked(relay, "two", previous=previous))
        assert upstreams[name].calls() == before + 1


def test_conversations_of_both_sides_outlive_the_promotion_of_the_canary(
    relay: Relay, split: Split, platform: Platform, upstreams: Upstreams
) -> None:
    relay.push(split.at(50))
    previous = [identifier(asked(relay, f"{number}")) for number in range(30)]
    begun = {name: upstreams[name].calls() for name in ("stable", "canary")}
    assert all(begun.values())
    promoted = route(split.canary, fallback=(split.stable,))
    relay.push(platform.document(routes=[promoted]))
    assert [asked(relay, "two", previous=one).status for one in previous] == [200] * 30
    assert {name: upstreams[name].calls() for name in begun} == {
        name: 2 * calls for name, calls in begun.items()
    }


def test_a_conversation_from_before_the_canary_stays_with_stable(
    relay: Relay, split: Split, platform: Platform, canary: Upstream
) -> None:
    relay.push(platform.document(routes=[route(split.stable)]))
    previous = [identifier(asked(relay, f"{number}")) for number in range(10)]
    relay.push(split.at(50))
    assert [asked(relay, "two", previous=one).status for one in previous] == [200] * 10
    assert canary.calls() == 0


def test_a_conversation_with_another_model_goes_to_the_provider_that_stores_it(
    relay: Relay, platform: Platform, upstreams: Upstreams
) -> None:
    routes = [
        route("stable", "canary", canary_percent=100, match={"models": ["gpt-4.1"]}),
        route(side("stable", "gpt-4.1-mini"), side("canary", "gpt-4.1-mini"), canary_percent=1),
    ]
    relay.push(platform.document(routes=routes))
    previous = identifier(asked(relay, "one"))
    answer = asked(relay, "two", previous=previous, model="gpt-4.1-mini")
    assert answer.status == 200, answer
    assert [upstreams[name].calls() for name in ("stable", "canary")] == [0, 2]


@pytest.mark.parametrize("status", [429, 503])
def test_a_conversation_never_hops(
    relay: Relay, split: Split, upstreams: Upstreams, status: int
) -> None:
    relay.push(split.at(100, fallback=(side("backup"),)))
    previous = identifier(asked(relay, "one"))
    upstreams["canary"].behave(error_percent=100, error_status=status)
    assert asked(relay, "two", previous=previous).status == status
    # one that begins is served elsewhere
    assert asked(relay, "three").status == 200
    assert upstreams["stable"].calls() == 1
    assert upstreams["backup"].calls() == 0


def test_a_conversation_that_began_at_a_fallback_goes_on_there(
    relay: Relay, platform: Platform, upstreams: Upstreams
) -> None:
    relay.push(platform.document(routes=[route("stable", fallback=(side("backup"),))]))
    upstreams["stable"].behave(error_percent=100, error_status=429)
    previous = identifier(asked(relay, "one"))
    upstreams["stable"].behave(error_percent=0)
    assert asked(relay, "two", previous=previous).status == 200
    assert upstreams["backup"].calls() == 2


def test_a_tripped_breaker_takes_no_conversation_from_its_creator(
    relay: Relay, split: Split, upstreams: Upstreams
) -> None:
    relay.push(split.at(100, breaker={"min_failures": 1, "open_seconds": 60}))
    previous = identifier(asked(relay, "one"))
    upstreams["canary"].behave(error_percent=100, error_status=500)
    for _ in range(3):
        asked(relay, "fails")
    upstreams["canary"].behave(error_percent=0)
    assert asked(relay, "begins").status == 200
    assert upstreams["stable"].calls() >= 1
    assert asked(relay, "two", previous=previous).status == 200


@pytest.mark.parametrize(
    "spelled",
    [b'"resp_unknown"', b'"resp_1_rly0123456789ab"', b'"\\ud800"', b'"%b"' % (b"x" * 2000)],
    ids=["unknown", "marked by nobody", "a lone surrogate", "long"],
)
def test_an_id_that_nobody_made_is_left_to_stable(
    relay: Relay, split: Split, canary: Upstream, spelled: bytes
) -> None:
    relay.push(split.at(50))
    body = b'{"model":"gpt-4.1","input":"x","previous_response_id":%b}' % spelled
    answers = [relay.ask("POST", RESPONSES, body=body) for _ in range(5)]
    assert [answer.status for answer in answers] == [400] * 5
    assert canary.calls() == 0


@pytest.mark.parametrize("spelled", [b"null", b'""', b"7"])
def test_what_is_no_id_continues_nothing(
    relay: Relay, split: Split, canary: Upstream, spelled: bytes
) -> None:
    relay.push(split.at(100))
    body = b'{"model":"gpt-4.1","input":"x","previous_response_id":%b}' % spelled
    relay.ask("POST", RESPONSES, body=body)
    assert canary.calls() == 1


@pytest.mark.parametrize("percent", [0, 50])
@pytest.mark.parametrize("named", [b'"conv_1"', b'{"id":"conv_1"}'], ids=["an id", "an object"])
def test_a_conversation_that_is_stored_stays_with_stable_and_never_hops(
    relay: Relay,
    split: Split,
    stable: Upstream,
    canary: Upstream,
    backup: Upstream,
    named: bytes,
    percent: int,
) -> None:
    # none is made through a relay
    relay.push(split.at(percent, fallback=(side("backup"),)))
    body = b'{"model":"gpt-4.1","input":"%d","conversation":%b}'
    for number in range(10):
        assert relay.ask("POST", RESPONSES, body=body % (number, named)).status == 200
    stable.behave(error_percent=100, error_status=429)
    assert relay.ask("POST", RESPONSES, body=body % (10, named)).status == 429
    assert (stable.calls(), canary.calls(), backup.calls()) == (11, 0, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, b'{"model":"gpt-4.1","input":"x","conversation":null}'),
        (CHAT, b'{"model":"gpt-4.1","messages":[],"conversation":"conv_1"}'),
    ],
    ids=["none", "a field that chat does not have"],
)
def test_what_names_no_conversation_goes_to_the_canary(
    relay: Relay, split: Split, canary: Upstream, path: str, body: bytes
) -> None:
    relay.push(split.at(100))
    assert relay.ask("POST", path, body=body).status == 200
    assert canary.calls() == 1
