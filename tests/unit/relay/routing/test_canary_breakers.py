"""The breakers of a tenant's canaries: kept over documents, reported, and followed by other workers."""

from tests.unit.relay.documents import CANARY, STABLE, document

from relay.routing.breaker import BreakerState
from relay.routing.canary_breakers import CanaryBreakers
from relay.routing.snapshot import RoutePlan, compile_snapshot
from relay_contract.document import Breaker, Route

NAME = ("chat", CANARY.fingerprint)
QUICK = Breaker(min_failures=1)


def plans(*routes: Route) -> tuple[RoutePlan, ...]:
    return compile_snapshot(document(routes=routes), "").plans


def weighted(percent: int) -> Route:
    return Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=percent, breaker=QUICK)


def watched() -> CanaryBreakers:
    breakers = CanaryBreakers()
    breakers.install(plans(weighted(50)))
    return breakers


def tripped() -> CanaryBreakers:
    breakers = watched()
    assert breakers.finished(*NAME, failed=True, probe=False, now=0.0)
    return breakers


def test_a_trip_is_handed_over_once() -> None:
    breakers = tripped()
    assert breakers.take_trips() == [NAME]
    assert breakers.take_trips() == []


def test_a_breaker_keeps_its_state_over_documents_and_goes_with_its_canary() -> None:
    breakers = tripped()
    breakers.install(plans(weighted(50)))
    assert not breakers.try_pass(*NAME, 0.5)
    breakers.install(plans(Route(name="chat", stable=STABLE)))
    assert breakers.states() == []
    assert breakers.try_pass(*NAME, 1.0)


def test_the_first_call_after_the_open_time_is_the_probe() -> None:
    breakers = tripped()
    assert not breakers.probing(*NAME)
    assert breakers.try_pass(*NAME, 30.0)
    assert breakers.probing(*NAME)
    breakers.cancelled(*NAME, probe=True)
    assert not breakers.probing(*NAME)


def test_a_trip_elsewhere_is_followed_and_not_told_again() -> None:
    breakers = watched()
    breakers.follow(*NAME, 0.0)
    assert not breakers.try_pass(*NAME, 0.5)
    assert breakers.take_trips() == []
    (state,) = breakers.states()
    assert (state[0], state[1].state, state[1].trips) == (NAME, BreakerState.open, 0)


def test_a_canary_that_left_changes_nothing() -> None:
    breakers = CanaryBreakers()
    breakers.follow(*NAME, 0.0)
    breakers.cancelled(*NAME, probe=True)
    assert not breakers.finished(*NAME, failed=True, probe=False, now=0.0)
    assert not breakers.probing(*NAME)


def test_a_canary_that_gets_weight_again_is_tried_anew() -> None:
    breakers = CanaryBreakers()
    for weight, blocked in ((50, True), (50, True), (0, False), (25, False)):
        breakers.install(plans(weighted(weight)))
        if not breakers.states()[0][1].trips and weight == 50:
            assert breakers.finished(*NAME, failed=True, probe=False, now=0.0)
        assert breakers.blocks(*NAME, 0.5) is blocked


def test_nothing_is_told_of_what_failed_before_the_weight_was_taken_away() -> None:
    breakers = CanaryBreakers()
    breakers.install(plans(weighted(50)))
    breakers.finished(*NAME, failed=True, probe=False, now=0.0)
    assert breakers.try_pass(*NAME, 2.0)
    breakers.finished(*NAME, failed=True, probe=True, now=2.1)
    ((_, before),) = breakers.states()
    assert (before.failed_probes, before.trips) == (1, 2)
    breakers.install(plans(weighted(0)))
    # what began before ends now
    breakers.finished(*NAME, failed=True, probe=True, now=2.2)
    for percent in (0, 10):
        breakers.install(plans(weighted(percent)))
        ((_, after),) = breakers.states()
        assert (after.failed_probes, after.state) == (0, BreakerState.closed)
        # a counter, which Prometheus compares with what it was
        assert after.trips >= 2
