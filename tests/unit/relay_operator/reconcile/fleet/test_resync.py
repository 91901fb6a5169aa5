"""The resync of a large fleet takes longer, so that it costs no more in a second than that of a smaller one."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.reconcile.fleet import resync
from relay_operator.reconcile.watched_state import WatchedState


def a_fleet(count: int) -> WatchedState:
    """Returns a cluster of so many Tenants with a route each."""
    state = WatchedState()
    for number in range(count):
        name = f"t{number}"
        state.tenants.store({"metadata": {"name": name, "uid": name}, "spec": {}})
        route: dict[str, Any] = {"name": "chat", "uid": name, "namespace": f"relay-{name}"}
        state.routes.store({"metadata": route, "spec": {"stable": {"provider": "p"}}})
    return state


@pytest.mark.parametrize(("count", "seconds"), [(0, 600), (10, 600), (750, 600), (2000, 1600)])
def test_no_more_than_five_objects_in_two_seconds_are_looked_at(count: int, seconds: int) -> None:
    assert resync.period_seconds(a_fleet(count), 600) == pytest.approx(seconds)


def test_objects_that_went_count_no_more() -> None:
    state = a_fleet(2000)
    for number in range(2000):
        name = f"t{number}"
        assert state.tenants.take_in({"metadata": {"name": name, "uid": name}}, deleted=True)
    assert state.tenants.count == 0
    assert resync.period_seconds(state, 300) == pytest.approx(800)


@pytest.mark.parametrize(("count", "period"), [(1500, 600.0), (10_000, 4000.0)])
def test_what_is_due_within_ten_seconds_is_looked_at_together(count: int, period: float) -> None:
    waits = [resync.wait_seconds(f"Tenant//t{number}", period, now=0.0) for number in range(count)]
    moments = Counter(round(wait, 3) for wait in waits)
    assert len(moments) == period / resync.TOGETHER_SECONDS
    assert all(moment % resync.TOGETHER_SECONDS == 0 for moment in moments)
    assert max(moments.values()) <= 3 * count / len(moments)


@given(
    name=st.text(max_size=20),
    period=st.floats(1, 10_000),
    now=st.floats(0, 1e6),
    late=st.floats(0, 0.005),
)
def test_an_object_is_looked_at_once_in_each_period(
    name: str, period: float, now: float, late: float
) -> None:
    wait = resync.wait_seconds(name, period, now=now)
    assert 0 < wait <= 1.01 * period
    due = now + wait
    again = resync.wait_seconds(name, period, now=due + late * period)
    assert again == pytest.approx((1 - late) * period, abs=1e-6)
