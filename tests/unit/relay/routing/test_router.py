"""Which side a call takes, and what the router remembers between calls and documents."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, document, provider

from relay.dialect.request_body import CallBody, read_body
from relay.dialect.response_ids import marked_id
from relay.routing.router import Router
from relay.routing.snapshot import Snapshot, compile_snapshot
from relay_contract.document import Breaker, Route, Side


def snapshot(percent: int, **changes: Any) -> Snapshot:
    route = Route(
        name="chat",
        stable=STABLE,
        canary=CANARY,
        canary_percent=percent,
        fallback=(BACKUP,),
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


def continuing(side: Side, provider_name: str) -> dict[str, Any]:
    """A call that continues what this side stored."""
    marked = marked_id("resp_1", fingerprint=side.fingerprint, provider=provider_name)
    return {"previous_response_id": marked}


@pytest.mark.parametrize("percent", [0, 50, 100])
@pytest.mark.parametrize(
    ("side", "label"), [(STABLE, "stable"), (CANARY, "canary"), (BACKUP, "fallback")]
)
def test_a_response_is_continued_by_the_side_that_stores_it_and_by_no_other(
    percent: int, side: Side, label: str
) -> None:
    for draw in (0.0, 0.99):
        router, of = routing(percent, draw=draw)
        assert labels(router, of, continuing(side, side.provider)) == [label]


def test_a_response_of_another_side_is_continued_by_its_provider() -> None:
    router, of = routing(100)
    gone = Side(provider="legacy", fingerprint="dddddddddddd")
    assert labels(router, of, continuing(gone, "legacy")) == ["stable"]
    assert labels(router, of, continuing(gone, "holysheep")) == ["canary"]


def test_a_response_of_unknown_origin_is_continued_by_stable_alone() -> None:
    router, of = routing(100)
    gone = Side(provider="former", fingerprint="dddddddddddd")
    assert labels(router, of, continuing(gone, "former")) == ["stable"]
    assert labels(router, of, {"previous_response_id": "resp_1"}) == ["stable"]
    # no response is continued at all
    for nothing in (None, "", 7):
        assert labels(router, of, {"previous_response_id": nothing}) == [
            "canary",
            "stable",
            "fallback",
        ]


def test_an_open_breaker_takes_no_conversation_from_its_creator() -> None:
    router, of = routing(100)
    routed = router.routed(of, "gpt-4.1", None)
    assert routed is not None
    router.breakers.finished("chat", CANARY.fingerprint, failed=True, probe=False, now=0.0)
    creator = routed.canary[:1]
    assert router.open_targets(routed.plan, creator, 1.0) == creator
    assert router.pass_breaker(routed.plan, creator, 1.0) == creator


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
    providers = (provider("legacy", models=()), provider("holysheep"), provider("backup"))
    of = snapshot(0, providers=providers)
    router.install(of)
    assert router.routed(of, "made-up", None) is not router.routed(of, "made-up", None)


def test_an_open_breaker_leaves_the_targets_after_the_canary() -> None:
    router, of = routing(100)
    routed = router.routed(of, "gpt-4.1", None)
    assert routed is not None
    assert router.pass_breaker(routed.plan, routed.canary, 0.0) == routed.canary
    router.breakers.finished("chat", CANARY.fingerprint, failed=True, probe=False, now=0.0)
    assert router.pass_breaker(routed.plan, routed.canary, 0.5) == routed.canary[1:]


def test_a_call_that_is_not_sent_after_all_leaves_the_probe_to_the_next() -> None:
    router, of = routing(100)
    routed = router.routed(of, "gpt-4.1", None)
    assert routed is not None
    router.breakers.finished("chat", CANARY.fingerprint, failed=True, probe=False, now=0.0)
    for _ in range(2):
        assert router.pass_breaker(routed.plan, routed.canary, 2.0) == routed.canary
        assert router.pass_breaker(routed.plan, routed.canary, 2.0) == routed.canary[1:]
        router.note_unsent(routed.plan, routed.canary[0])
    router.note_unsent(routed.plan, routed.stable[0])
