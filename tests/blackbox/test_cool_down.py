"""A provider that says when to come back is passed over until then, as long as another target stands."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from typing import Any

import orjson
import pytest
from tests.blackbox.measured import Measured
from tests.blackbox.relays import Relay
from tests.blackbox.scripted import CHAT_ANSWER, Script, ScriptedProvider, scripted, stream, unary
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.waiting import eventually

from relay_contract.document import ProviderLimits, Route

GOOD = unary(CHAT_ANSWER)
BUSY = b'{"error":{"message":"slow down"}}'
LONG = b"retry-after: 3000\r\n"


def busy(fields: bytes = LONG, *, status: bytes = b"429", body: bytes = BUSY) -> bytes:
    return unary(body, status=status + b" X", fields=fields)


class Stand:
    """A route of one test: stable first, then a fallback, whose answers are scripted."""

    def __init__(self, relay: Relay, providers: dict[str, ScriptedProvider], route: Route) -> None:
        self.relay = relay
        self.providers = providers
        self.route = route

    def asked(self) -> list[int]:
        """Returns how many calls each provider got."""
        return [len(one.heads) for one in self.providers.values()]

    def passed_over(self) -> float:
        """Returns how many calls passed a provider over."""
        return self.relay.metrics().total("relay_passed_over_total", route=self.route.name)


@contextmanager
def standing(
    relay: Relay, platform: Platform, *scripts: list[Script], **fields: Any
) -> Iterator[Stand]:
    with ExitStack() as stack:
        names = [f"one-{number}" for number in range(len(scripts))]
        found = {
            name: stack.enter_context(scripted(ScriptedProvider(script)))
            for name, script in zip(names, scripts, strict=True)
        }
        parts = [provider(name, one.url, auth={}, **fields) for name, one in found.items()]
        served = route(side(names[0]), fallback=tuple(side(name) for name in names[1:]))
        relay.push(platform.document(providers=parts, routes=[served]))
        yield Stand(relay, found, served)


SAID: dict[str, bytes] = {
    "seconds": busy(),
    "a date": busy(b"retry-after: %b\r\n" % formatdate(time.time() + 3000, usegmt=True).encode()),
    "milliseconds": busy(b"retry-after-ms: 30000\r\n"),
    "an absurd number": busy(b"retry-after: " + b"9" * 400 + b"\r\n"),
    "503": busy(status=b"503"),
    "529": busy(status=b"529"),
    "Gemini's details": busy(
        b"",
        body=orjson.dumps(
            [{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "34s"}]}}]
        ),
    ),
    "a page": busy(body=b"<html>"),
    "a 200 that reports 429": unary(b'{"error":{"message":"x","code":429}}', fields=LONG),
}


@pytest.mark.parametrize("answer", SAID.values(), ids=SAID)
def test_who_says_when_to_come_back_is_passed_over(
    relay: Relay, platform: Platform, answer: bytes
) -> None:
    with standing(relay, platform, [answer], [GOOD]) as stand:
        assert [relay.chat().status for _ in range(4)] == [200] * 4
        assert stand.asked() == [1, 4]
        assert stand.passed_over() == 3
        fallbacks = relay.metrics().total("relay_fallbacks_total", route=stand.route.name)
        assert fallbacks == 1


SILENT: dict[str, bytes] = {
    "no time": busy(b""),
    "no number": busy(b"retry-after: soon\r\n"),
    "a negative number": busy(b"retry-after: -5\r\n"),
    "zero": busy(b"retry-after: 0\r\n"),
    "a date that has passed": busy(b"retry-after: Tue, 14 Nov 2023 22:13:20 GMT\r\n"),
    "another failure": busy(status=b"402"),
}


@pytest.mark.parametrize("answer", SILENT.values(), ids=SILENT)
def test_who_names_no_time_to_come_back_is_asked_again(
    relay: Relay, platform: Platform, answer: bytes
) -> None:
    with standing(relay, platform, [answer], [GOOD]) as stand:
        for _ in range(3):
            relay.chat()
        assert stand.asked()[0] == 3
        assert stand.passed_over() == 0


def test_a_provider_is_asked_again_when_its_time_has_come(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(b"retry-after-ms: 1500\r\n"), GOOD], [GOOD]) as stand:
        assert relay.chat().status == 200
        assert stand.asked() == [1, 1]
        eventually(
            lambda: (relay.chat().status, stand.asked()[0]),
            lambda seen: seen == (200, 2),
            what="a call at the provider that was passed over",
        )


def test_the_bound_of_the_provider_counts(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(), GOOD], [GOOD], cool_down_seconds=0.5) as stand:
        relay.chat()
        eventually(
            lambda: (relay.chat().status, stand.asked()[0]),
            lambda seen: seen == (200, 2),
            what="a call at the provider that was passed over",
        )
    with standing(relay, platform, [busy()], [GOOD], cool_down_seconds=0) as stand:
        for _ in range(3):
            assert relay.chat().status == 200
        assert stand.asked() == [3, 3]


def test_the_only_target_is_never_passed_over(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(), busy(), GOOD]) as stand:
        answers = [relay.chat() for _ in range(3)]
        assert [answer.status for answer in answers] == [429, 429, 200]
        assert answers[0].header("retry-after") == "3000"
        assert stand.asked() == [3]


def test_a_fallback_that_cools_down_is_passed_over_too(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(b"")], [busy()], [GOOD]) as stand:
        assert [relay.chat().status for _ in range(3)] == [200] * 3
        assert stand.asked() == [3, 1, 3]
        assert stand.passed_over() == 2
        name = f"gap-{stand.route.name}"
        relay.chat(headers={"x-request-id": name})
        lines = usage_lines(relay, name, 2)
        assert [(line["provider"], line["attempt"]) for line in lines] == [
            ("one-0", 1),
            ("one-2", 2),
        ]


def test_when_all_cool_down_none_is_passed_over(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(), busy(), GOOD], [busy()]) as stand:
        assert relay.chat().status == 429
        assert stand.asked() == [1, 1]
        assert relay.chat().status == 429
        assert relay.chat().status == 200
        assert stand.asked() == [3, 2]


def test_another_model_of_the_provider_is_still_asked(relay: Relay, platform: Platform) -> None:
    with standing(relay, platform, [busy(), GOOD], [GOOD]) as stand:
        relay.chat()
        assert relay.chat(model="gpt-4.1-mini").status == 200
        assert stand.asked() == [2, 1]


def test_a_canary_that_cools_down_leaves_its_calls_to_stable(
    relay: Relay, platform: Platform
) -> None:
    with (
        scripted(ScriptedProvider([GOOD])) as stable,
        scripted(ScriptedProvider([busy()])) as canary,
    ):
        providers = [provider("stable", stable.url), provider("canary", canary.url)]
        measured = Measured(relay, platform, providers=providers, canary_percent=100)
        assert [relay.chat().status for _ in range(5)] == [200] * 5
        assert (len(canary.heads), len(stable.heads)) == (1, 5)
        measured.settled(1, of="canary")
        measured.settled(5)
        assert measured.counts("canary")["throttled"] == 1


def test_a_call_that_is_left_to_another_target_has_one_line(
    relay: Relay, platform: Platform
) -> None:
    with standing(relay, platform, [busy()], [GOOD]) as stand:
        relay.chat()
        name = f"cool-{stand.route.name}"
        relay.chat(headers={"x-request-id": name})
        (line,) = usage_lines(relay, name)
        assert (line["provider"], line["attempt"], line["outcome"]) == ("one-1", 1, "ok")


def test_the_target_that_takes_its_place_is_charged(relay: Relay, platform: Platform) -> None:
    with (
        scripted(ScriptedProvider([busy()])) as stable,
        scripted(ScriptedProvider([GOOD])) as backup,
    ):
        limited = ProviderLimits(requests_per_minute=6)
        providers = [
            provider("stable", stable.url),
            provider("backup", backup.url, limits=limited),
        ]
        routes = [route(fallback=(side("backup"),))]
        queue = {"concurrency": 10, "max_depth": 0, "max_wait_seconds": 0}
        relay.push(platform.document(providers=providers, routes=routes, queue=queue))
        statuses = [relay.chat().status for _ in range(6)]
        assert statuses.count(200) == len(backup.heads) < 6
        assert len(stable.heads) == 1


def test_a_new_quota_of_the_provider_ends_its_cool_down(relay: Relay, platform: Platform) -> None:
    with (
        scripted(ScriptedProvider([busy(), GOOD])) as stable,
        scripted(ScriptedProvider([GOOD])) as backup,
    ):
        routes = [route(fallback=(side("backup"),))]
        for rate in (1000, 1000, 2000):
            limits = ProviderLimits(requests_per_minute=rate)
            providers = [
                provider("stable", stable.url, limits=limits),
                provider("backup", backup.url),
            ]
            relay.push(platform.document(providers=providers, routes=routes))
            assert relay.chat().status == 200
        assert (len(stable.heads), len(backup.heads)) == (2, 2)


def test_a_stream_that_reports_429_first_is_passed_over_too(
    relay: Relay, platform: Platform
) -> None:
    first = stream(b'data: {"error":{"message":"x","code":429}}\n\n', fields=LONG)
    with standing(relay, platform, [first], [stream(b"data: [DONE]\n\n")]) as stand:
        for _ in range(2):
            relay.chat(stream=True)
        assert stand.asked() == [1, 2]
