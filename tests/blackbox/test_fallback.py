"""A second attempt only if the first was certainly not processed; a failing canary is avoided in milliseconds."""

import json
from typing import Any

import pytest
from tests.blackbox.relays import Metrics, Relay
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

from relay_contract.document import Breaker, Side
from relay_contract.endpoints import BREAKERS_PATH

NOT_PROCESSED: dict[str, dict[str, Any]] = {
    "429": {"error_percent": 100, "error_status": 429},
    "503": {"error_percent": 100, "error_status": 503},
}
MAYBE_PROCESSED: dict[str, dict[str, Any]] = {
    "500": {"error_percent": 100, "error_status": 500},
    "502": {"error_percent": 100, "error_status": 502},
    "504": {"error_percent": 100, "error_status": 504},
    "no-answer": {"fault": "no_answer"},
    "stall": {"fault": "stall"},
    "reset": {"fault": "reset"},
    "close": {"fault": "close"},
    "dies": {"fault": "die"},
    "not-http": {"fault": "not_http"},
}


@pytest.fixture
def with_backup(relay: Relay, platform: Platform) -> Relay:
    """Gives the relay a route with a fallback."""
    relay.push(platform.document(routes=[route(fallback=(side("backup"),))]))
    return relay


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("behaviour", NOT_PROCESSED.values(), ids=NOT_PROCESSED)
def test_an_unprocessed_call_falls_back(
    with_backup: Relay,
    stable: Upstream,
    backup: Upstream,
    behaviour: dict[str, Any],
    stream: bool,
) -> None:
    stable.behave(**behaviour)
    assert with_backup.chat(stream=stream).status == 200
    assert (stable.calls(), backup.calls()) == (1, 1)


def test_a_refused_connection_falls_back(
    relay: Relay, platform: Platform, backup: Upstream
) -> None:
    providers = [provider("stable", "http://127.0.0.1:1/v1"), provider("backup", backup.url)]
    routes = [route(fallback=(side("backup"),))]
    relay.push(platform.document(providers=providers, routes=routes))
    assert relay.chat().status == 200
    assert backup.calls() == 1


@pytest.mark.parametrize("behaviour", MAYBE_PROCESSED.values(), ids=MAYBE_PROCESSED)
def test_a_call_that_may_have_been_processed_is_never_paid_twice(
    with_backup: Relay, stable: Upstream, backup: Upstream, behaviour: dict[str, Any]
) -> None:
    stable.behave(**behaviour)
    assert with_backup.chat().status in (500, 502, 504)
    assert (stable.calls(), backup.calls()) == (1, 0)


def test_a_call_is_not_tried_again_after_its_first_event(
    with_backup: Relay, stable: Upstream, backup: Upstream
) -> None:
    stable.behave(fault="die", fault_after_events=1)
    assert with_backup.chat(stream=True).status == 200
    assert backup.calls() == 0


def test_fallbacks_are_tried_in_order_and_the_last_error_is_returned(
    relay: Relay, platform: Platform, upstreams: dict[str, Upstream]
) -> None:
    relay.push(platform.document(routes=[route(fallback=(side("canary"), side("backup")))]))
    for name, status in (("stable", 503), ("canary", 429), ("backup", 429)):
        upstreams[name].behave(error_percent=100, error_status=status, retry_after="9")
    answer = relay.chat()
    assert (answer.status, answer.header("retry-after")) == (429, "9")
    assert [upstreams[name].calls() for name in ("stable", "canary", "backup")] == [1, 1, 1]


def test_a_fallback_gets_the_same_body_under_its_own_model_and_key(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    relay.push(platform.document(routes=[route(fallback=(side("backup", "gpt-4.1-mini"),))]))
    stable.behave(error_percent=100, error_status=503)
    relay.chat(temperature=0.5)
    first, second = stable.only_request(), backup.only_request()
    assert second.body == first.body.replace(b'"gpt-4.1"', b'"gpt-4.1-mini"')
    assert first.header("authorization") != second.header("authorization")


def test_a_throttled_canary_falls_back_to_stable(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    canary.behave(error_percent=100, error_status=429)
    relay.push(platform.document(routes=[route(canary="canary", canary_percent=100)]))
    assert relay.chat().status == 200
    assert (canary.calls(), stable.calls()) == (1, 1)


def test_further_attempts_are_bounded_by_a_budget(
    new_relay: Any, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    routes = [route(fallback=(side("backup"),))]
    relay = new_relay(document=platform.document(routes=routes), retry_ratio="0", retry_burst="5")
    stable.behave(error_percent=100, error_status=503)
    statuses = [relay.chat().status for _ in range(12)]
    assert statuses.count(200) == 5
    assert backup.calls() == 5


class BreakingRoute:
    """A route whose canary gets all calls until its breaker opens."""

    def __init__(self, relay: Relay, platform: Platform, **fields: Any) -> None:
        self.relay = relay
        self._platform = platform
        self.canary: Side = side("canary")
        breaker = Breaker(**{"min_failures": 5, "window_seconds": 5, **fields})
        self._route = route("stable", self.canary, breaker=breaker)
        self.name = self._route.name
        self.weigh(100)

    def weigh(self, percent: int) -> None:
        """Gives the canary that many percent of the calls."""
        weighted = self._route.model_copy(update={"canary_percent": percent})
        self.relay.push(self._platform.document(routes=[weighted]))

    def call(self, times: int) -> list[int]:
        """Makes that many calls, one after the other, and returns their statuses."""
        return [self.relay.chat().status for _ in range(times)]

    def open(self) -> float:
        """Returns 1 while the breaker is open."""
        return self._value("open")

    def failed_probes(self) -> float:
        """Returns how many probes failed since the breaker was last closed."""
        return self._value("failed_probes")

    def _value(self, name: str) -> float:
        labels = {"route": self.name, "fingerprint": self.canary.fingerprint}
        metrics: Metrics = self.relay.slo()
        return metrics.total(f"relay_slo_breaker_{name}", **labels)


@pytest.mark.parametrize(
    "behaviour",
    [{"error_percent": 100, "error_status": 500}, {"fault": "reset"}],
    ids=["500", "reset"],
)
def test_a_failing_canary_gets_no_more_calls_after_a_bounded_number_of_failures(
    relay: Relay, platform: Platform, canary: Upstream, behaviour: dict[str, Any]
) -> None:
    breaking = BreakingRoute(relay, platform)
    canary.behave(**behaviour)
    statuses = breaking.call(40)
    assert statuses[:5].count(200) == 0
    assert statuses.count(200) == 40 - canary.calls()
    assert canary.calls() == 5 + breaking.failed_probes()


def test_a_canary_that_refuses_the_key_gets_no_more_calls_and_no_caller_notices(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform)
    canary.behave(api_key="another")
    assert breaking.call(40) == [200] * 40
    assert canary.calls() == 5 + breaking.failed_probes()


def test_an_open_breaker_is_reported(relay: Relay, platform: Platform, canary: Upstream) -> None:
    breaking = BreakingRoute(relay, platform)
    assert breaking.open() == 0
    canary.behave(error_percent=100)
    breaking.call(10)
    eventually(breaking.open, lambda seen: seen == 1, what="relay_slo_breaker_open")
    trips = relay.slo().total("relay_slo_breaker_trips_total", route=breaking.name)
    assert trips == 1 + breaking.failed_probes()


def asked(relay: Relay, query: str = "") -> Any:
    """Returns what the admin port tells of open breakers."""
    return json.loads(relay.admin("GET", BREAKERS_PATH + query).body)


def test_whoever_asks_for_breakers_hears_of_one_that_opens_and_of_its_failed_probes(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, open_seconds=0.3)
    quiet = asked(relay)
    assert quiet["open"] == []
    canary.behave(error_percent=100)
    breaking.call(10)
    heard = asked(relay, f"?seen={quiet['tag']}&wait=15")
    (entry,) = heard["open"]
    assert (entry["route"], entry["fingerprint"]) == (breaking.name, breaking.canary.fingerprint)
    eventually(
        lambda: (breaking.call(1), asked(relay)["open"][0]["failedProbes"])[1],
        lambda failed: failed >= 1,
        what="a failed probe",
    )


def test_nothing_is_told_of_breakers_from_the_moment_on_at_which_the_canary_loses_its_weight(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, open_seconds=0.3)
    canary.behave(error_percent=100)
    eventually(
        lambda: (breaking.call(1), asked(relay)["open"])[1],
        lambda told: bool(told) and told[0]["failedProbes"] >= 1,
        what="a failed probe",
    )
    # whoever tries the canary again would take it for news of that
    for percent in (0, 100):
        breaking.weigh(percent)
        assert asked(relay)["open"] == []
        assert (breaking.open(), breaking.failed_probes()) == (0, 0)
    assert relay.slo().total("relay_slo_breaker_trips_total", route=breaking.name) >= 2


@pytest.mark.parametrize("wait", ["-1", "1e9", "x", "99999", ""])
def test_a_time_to_wait_for_breakers_that_is_none_is_refused(relay: Relay, wait: str) -> None:
    assert relay.admin("GET", f"{BREAKERS_PATH}?wait={wait}").status == 400


def test_a_few_failures_among_many_answers_do_not_open_the_breaker(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, failure_percent=50)
    breaking.call(20)
    for _ in range(2):
        canary.behave(error_first=4, error_status=500)
        assert 200 not in breaking.call(4)
        assert breaking.call(4) == [200] * 4
    assert breaking.open() == 0


def test_failures_in_a_row_open_the_breaker_at_any_rate_of_calls(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, min_failures=10, window_seconds=0.01)
    breaking.call(20)
    canary.behave(error_percent=100, error_status=500)
    assert breaking.call(5).count(200) == 0
    assert breaking.open() == 1


def test_a_burst_of_failures_costs_the_canary_a_second(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, open_seconds=60)
    canary.behave(error_first=5, error_status=500)
    breaking.call(6)
    eventually(
        lambda: (breaking.call(1), canary.calls())[1],
        lambda calls: calls >= 7,
        what="traffic on the canary after its burst",
    )
    assert breaking.open() == 0
    assert breaking.failed_probes() == 0


def test_a_breaker_that_is_off_never_opens(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, enabled=False)
    canary.behave(error_percent=100)
    assert 200 not in breaking.call(20)
    assert canary.calls() == 20


def test_answers_429_do_not_open_the_breaker(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    # 429 is about quota, not a failure
    breaking = BreakingRoute(relay, platform)
    canary.behave(error_percent=100, error_status=429)
    breaking.call(20)
    assert breaking.open() == 0
    assert canary.calls() == 20


def test_a_recovered_canary_gets_calls_again_after_one_probe(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, open_seconds=0.3)
    canary.behave(error_percent=100)
    breaking.call(10)
    canary.reset()
    eventually(
        lambda: (breaking.call(1), canary.calls())[1],
        lambda calls: calls >= 3,
        what="traffic on the recovered canary",
    )
    assert breaking.open() == 0


def test_a_canary_that_fails_its_probe_gets_no_more_calls(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    breaking = BreakingRoute(relay, platform, open_seconds=0.3)
    canary.behave(error_percent=100)
    breaking.call(10)
    eventually(
        lambda: (breaking.call(1), canary.calls())[1],
        lambda calls: calls >= 6,
        what="the probe",
    )
    breaking.call(20)
    assert canary.calls() == 5 + breaking.failed_probes()
    assert breaking.open() == 1


def test_stable_has_no_breaker(relay: Relay, platform: Platform, stable: Upstream) -> None:
    relay.push(platform.document(routes=[route(breaker=Breaker(min_failures=2))]))
    stable.behave(error_percent=100)
    assert 200 not in [relay.chat().status for _ in range(10)]
    assert stable.calls() == 10
