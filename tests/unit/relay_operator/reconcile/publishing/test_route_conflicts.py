"""The conflicts that are kept up are those that a look at all routes finds, whatever changes and in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions.route_acceptance import Claimant, claimant, conflicts
from relay_operator.reconcile.publishing.route_conflicts import Conflicts

MODELS, TASKS = ("m", "n", "o"), ("t", "u")
NAMES = tuple("abcdefg")


def a_claimant(name: str, age: int, models: list[str], tasks: list[str]) -> Claimant:
    metadata = {"name": name, "namespace": "relay-a", "uid": name, "generation": 1}
    metadata["creationTimestamp"] = f"2026-01-01T00:00:{age:02d}Z"
    match = {"models": models, "tasks": tasks}
    route = RelayRoute.parse(
        {"metadata": metadata, "spec": {"stable": {"provider": "p"}, "match": match}}
    )
    return claimant(route.metadata, route.spec.match)


a_change = st.tuples(
    st.sampled_from(NAMES),
    st.booleans(),
    st.integers(0, 3),
    st.lists(st.sampled_from(MODELS), max_size=3, unique=True),
    st.lists(st.sampled_from(TASKS), max_size=2, unique=True),
)


@given(st.lists(st.lists(a_change, min_size=1, max_size=4), max_size=20))
def test_conflicts_are_kept_up(
    batches: list[list[tuple[str, bool, int, list[str], list[str]]]],
) -> None:
    kept, routes = Conflicts(), dict[str, Claimant]()
    for batch in batches:
        before = conflicts(routes)
        changed: dict[str, Claimant | None] = {}
        for name, is_gone, age, models, tasks in batch:
            changed[name] = None if is_gone else a_claimant(name, age, models, tasks)
        for name, route in changed.items():
            routes.pop(name, None)
            if route is not None:
                routes[name] = route
        told = kept.update(changed)
        after = conflicts(routes)
        assert kept.losers == after
        assert told == {name for name in NAMES if before.get(name) != after.get(name)}
