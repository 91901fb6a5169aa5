"""The resync of a large fleet takes longer, so that it costs no more in a second than that of a smaller one."""

from typing import Any

import pytest

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
