"""Which route, which side, and for whom."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, document, provider

from relay.routing.routes import find_route, takes_canary
from relay.routing.sessions import session_point, session_seed
from relay.routing.snapshot import Snapshot, compile_snapshot
from relay_contract.document import Match, ProviderModel, Route, Side


def routed_name(routes: tuple[Route, ...], model: str, task: str | None) -> str | None:
    routed = find_route(compile_snapshot(document(routes=routes), ""), model, task)
    return routed.plan.name if routed is not None else None


def route(name: str, *, models: tuple[str, ...] = (), tasks: tuple[str, ...] = ()) -> Route:
    return Route(name=name, match=Match(models=models, tasks=tasks), stable=STABLE)


ROUTES = (
    route("all"),
    route("task", tasks=("reasoning",)),
    route("model", models=("gpt-4.1",)),
    route("both", models=("gpt-4.1",), tasks=("reasoning",)),
)


def test_the_most_specific_route_wins() -> None:
    assert routed_name(ROUTES, "gpt-4.1", "reasoning") == "both"
    assert routed_name(ROUTES, "gpt-4.1", "other") == "model"
    assert routed_name(ROUTES, "gpt-4.1", None) == "model"
    assert routed_name(ROUTES[:2], "gpt-4.1", "reasoning") == "task"
    assert routed_name(ROUTES[:2], "gpt-4.1", None) == "all"


def test_ties_go_to_the_first_route_of_the_document() -> None:
    tied = (route("b", models=("gpt-4.1",)), route("a", models=("gpt-4.1",)))
    assert routed_name(tied, "gpt-4.1", None) == "b"
    assert routed_name(tied[::-1], "gpt-4.1", None) == "a"


def test_a_model_no_route_takes_is_not_found() -> None:
    assert routed_name((route("m", models=("gpt-4.1",)),), "gpt-5", None) is None
    assert routed_name((route("t", tasks=("x",)),), "gpt-4.1", None) is None


def test_a_catalogue_decides_for_a_route_that_takes_everything() -> None:
    assert routed_name((route("all"),), "gpt-5", None) is None
    open_catalogue = document(providers=(provider("legacy", models=()),), routes=(route("all"),))
    assert find_route(compile_snapshot(open_catalogue, ""), "gpt-5", None) is not None


def test_targets_know_the_model_by_the_providers_name() -> None:
    named = provider("holysheep", models=(ProviderModel(name="gpt-4.1", upstream_name="up"),))
    canary = Side(provider="holysheep", fingerprint=CANARY.fingerprint)
    plan = Route(name="r", stable=STABLE, canary=canary, fallback=(BACKUP,))
    snapshot = compile_snapshot(
        document(providers=(provider("legacy"), named, provider("backup")), routes=(plan,)), ""
    )
    routed = find_route(snapshot, "gpt-4.1", None)
    assert routed is not None
    assert [(target.destination.label, target.model) for target in routed.canary] == [
        ("canary", "up"),
        ("stable", "gpt-4.1"),
        ("fallback", "gpt-4.1"),
    ]


def test_a_side_without_the_model_is_passed_over() -> None:
    other = provider("holysheep", models=(ProviderModel(name="other", upstream_name="o"),))
    plan = Route(name="r", stable=STABLE, canary=CANARY, canary_percent=100)
    snapshot = compile_snapshot(document(providers=(provider("legacy"), other), routes=(plan,)), "")
    routed = find_route(snapshot, "gpt-4.1", None)
    assert routed is not None
    assert routed.canary == ()
    assert not takes_canary(routed, point=0.0)


def test_listed_models_are_those_that_may_be_asked_for() -> None:
    routes = (
        route("m", models=("a", "b")),
        Route(
            name="s",
            match=Match(tasks=("t",)),
            stable=Side(provider="legacy", model="c", fingerprint="a" * 12),
        ),
        route("all"),
    )
    assert compile_snapshot(document(routes=routes), "").models == ("a", "b", "c", "gpt-4.1")


@given(key=st.binary(min_size=1, max_size=64), low=st.integers(0, 100), high=st.integers(0, 100))
def test_a_session_changes_side_at_most_once_on_the_way_up(key: bytes, low: int, high: int) -> None:
    low, high = sorted((low, high))
    point = session_point(key, seed=session_seed("s", CANARY.fingerprint))
    assert 0 <= point < 100
    if point < low:
        assert point < high


def test_sessions_spread_evenly_and_differently_for_every_canary() -> None:
    keys = [b"session-%d" % number for number in range(4000)]
    first = [session_point(key, seed=session_seed("s", "a" * 12)) < 10 for key in keys]
    second = [session_point(key, seed=session_seed("s", "b" * 12)) < 10 for key in keys]
    assert 0.08 < sum(first) / len(keys) < 0.12
    both = sum(a and b for a, b in zip(first, second, strict=True))
    assert both < 0.03 * len(keys)


CLOSED = provider("legacy").model_copy(update={"closed": True})


def with_closed(**fields: object) -> Snapshot:
    plan = Route.model_validate({"name": "r", "stable": STABLE} | fields)
    others = (provider("holysheep"), provider("backup"))
    return compile_snapshot(document(providers=(CLOSED, *others), routes=(plan,)), "")


def test_nothing_is_sent_to_a_provider_that_is_closed() -> None:
    routed = find_route(with_closed(fallback=(BACKUP,)), "gpt-4.1", None)
    assert routed is not None
    assert [target.provider for target in routed.stable] == ["backup"]


def test_a_route_with_closed_providers_alone_serves_nobody_and_lists_nothing() -> None:
    snapshot = with_closed(match=Match(models=("gpt-4.1",)))
    routed = find_route(snapshot, "gpt-4.1", None)
    assert routed is not None
    assert (routed.stable, routed.canary) == ((), ())
    assert snapshot.models == ()


def test_a_canary_takes_all_calls_of_a_closed_stable_only_if_it_had_all() -> None:
    for percent, served in ((100, ["holysheep"]), (99, [])):
        routed = find_route(with_closed(canary=CANARY, canary_percent=percent), "gpt-4.1", None)
        assert routed is not None
        assert [target.provider for target in routed.stable] == served
