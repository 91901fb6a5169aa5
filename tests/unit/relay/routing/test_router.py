"""Which side a call takes, and what the router remembers between calls and documents."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from tests.unit.relay.documents import CANARY, STABLE, document, provider

from relay.dialect.request_body import CallBody, read_body
from relay.routing.router import Router
from relay.routing.snapshot import Snapshot, compile_snapshot
from relay_contract.document import Breaker, Route


def snapshot(percent: int, **changes: Any) -> Snapshot:
    route = Route(
        name="chat",
        stable=STABLE,
        canary=CANARY,
        canary_percent=percent,
        breaker=Breaker(min_failures=1),
    )
    return compile_snapshot(document(routes=(route,), **changes), "")


def labels(
    router: Router,
    of: Snapshot,
    document: Mapping[str, Any] | None = None,
    fields: Mapping[bytes, bytes] | None = None,
) -> list[str]:
    routed = router.routed(of, "gpt-4.1", None)
    assert routed is not None
    body = read_body(orjson.dumps({"model": "gpt-4.1", **(document or {})}))
    assert isinstance(body, CallBody)
    targets = router.targets(routed, body, fields or {})
    return [target.destination.label for target in targets]


def routing(percent: int, *, draw: float = 0.0) -> tuple[Router, Snapshot]:
    router, of = Router(lambda: draw), snapshot(percent)
    router.install(of)
    return router, of


@pytest.mark.parametrize(
    ("percent", "draw", "first"),
    [(0, 0.0, "stable"), (30, 0.29, "canary"), (30, 0.31, "stable"), (100, 0.99, "canary")],
)
def test_a_call_without_a_session_falls_at_random(percent: int, draw: float, first: str) -> None:
    router, of = routing(percent, draw=draw)
    assert labels(router, of)[0] == first


def test_a_session_falls_on_the_same_side_whatever_is_drawn() -> None:
    of = snapshot(50)
    for number in range(20):
        fields = {b"x-session-id": b"session-%d" % number}
        low, high = Router(lambda: 0.0), Router(lambda: 0.9)
        assert labels(low, of, None, fields) == labels(high, of, None, fields)


@pytest.mark.parametrize(("owner", "first"), [(STABLE, "stable"), (CANARY, "canary")])
def test_a_response_is_continued_by_the_side_that_stores_it(owner: Any, first: str) -> None:
    router, of = routing(50, draw=0.99 if first == "canary" else 0.0)
    router.owners.created("resp_1", owner.fingerprint)
    assert labels(router, of, {"previous_response_id": "resp_1"})[0] == first


def test_routes_of_known_models_are_remembered_until_the_next_document() -> None:
    router, of = routing(0)
    first = router.routed(of, "gpt-4.1", None)
    assert router.routed(of, "gpt-4.1", None) is first
    assert router.routed(of, "gpt-4.1", "task") is not first
    later = snapshot(10)
    router.install(later)
    assert router.routed(of, "gpt-4.1", None) is not first
    assert router.routed(later, "gpt-4.1", None) is router.routed(later, "gpt-4.1", None)


def test_a_model_that_only_the_caller_names_is_not_remembered() -> None:
    router = Router(lambda: 0.0)
    of = snapshot(0, providers=(provider("legacy", models=()), provider("holysheep")))
    router.install(of)
    assert router.routed(of, "made-up", None) is not router.routed(of, "made-up", None)


def test_an_open_breaker_leaves_the_targets_after_the_canary() -> None:
    router, of = routing(100)
    routed = router.routed(of, "gpt-4.1", None)
    assert routed is not None
    assert router.pass_breaker(routed.plan, routed.canary, 0.0) == routed.canary
    router.breakers.finished("chat", CANARY.fingerprint, failed=True, probe=False, now=0.0)
    assert router.pass_breaker(routed.plan, routed.canary, 1.0) == routed.canary[1:]
