"""The preflights of a pod: what a document asks for, one worker that probes, and what outlives it."""

from typing import Any

import pytest
from tests.unit.relay.documents import CANARY, STABLE, document, provider

from relay.process.pod_state.preflights import PodPreflights
from relay_contract.document import Document, ProviderLimits, Route, Side

UID = "uid-1"


def asking(**tokens: str | None) -> Document:
    return document(
        routes=tuple(
            Route(name=name, stable=STABLE, canary=CANARY, preflight=token)
            for name, token in tokens.items()
        )
    )


def reached(canary: Side = CANARY, **fields: Any) -> Document:
    """A document that asks for one preflight of a canary at a provider with these fields."""
    route = Route(name="chat", stable=STABLE, canary=canary, preflight="t/1")
    return document(
        providers=(provider("legacy"), provider("holysheep", **fields)), routes=(route,)
    )


def states(preflights: PodPreflights) -> dict[str, str]:
    return {entry["route"]: entry["state"] for entry in preflights.entries()}


def row(route: str, token: str, state: str, reason: str = "", message: str = "") -> list[Any]:
    return [UID, route, token, state, reason, message]


def test_what_a_document_asks_for_is_running_until_its_worker_tells_more() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/1", code=None, other="t/2"), "d1")
    assert states(preflights) == {"chat": "Running", "other": "Running"}
    assert preflights.give_duty([1, 0])
    preflights.report(0, "d1", [row("chat", "t/1", "Failed", "Unauthorized", "says 401")])
    assert preflights.entries()[0] == {
        "route": "chat",
        "token": "t/1",
        "state": "Failed",
        "reason": "Unauthorized",
        "message": "says 401",
    }


def test_the_duty_stays_with_a_worker_that_lives_and_then_goes_to_the_lowest() -> None:
    preflights = PodPreflights()
    alive: tuple[tuple[list[int], bool, int | None], ...] = (
        ([2, 1], True, 1),
        ([0, 1, 2], False, 1),
        ([0, 2], True, 0),
        ([], False, None),
        ([0], True, 0),
    )
    for workers, moved, number in alive:
        assert (preflights.give_duty(workers), preflights.worker) == (moved, number)


def test_only_the_worker_on_duty_is_believed() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/1"), "d1")
    preflights.give_duty([0, 1])
    preflights.report(1, "d1", [row("chat", "t/1", "Passed")])
    assert states(preflights) == {"chat": "Running"}


def test_what_has_passed_outlives_its_worker_and_the_document_but_not_its_token() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/1"), "d1")
    preflights.give_duty([0])
    preflights.report(0, "d1", [row("chat", "t/1", "Passed")])
    preflights.give_duty([])
    preflights.follow(asking(chat="t/1", code="t/2"), "d1")
    assert preflights.passed() == [(UID, "chat", "t/1")]
    assert states(preflights) == {"chat": "Passed", "code": "Running"}
    preflights.follow(asking(chat="t/9"), "d1")
    assert (states(preflights), preflights.passed()) == ({"chat": "Running"}, [])


def test_a_report_about_a_former_document_changes_nothing() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/2"), "d1")
    preflights.give_duty([0])
    tag = preflights.answer()["tag"]
    preflights.report(0, "d1", [row("chat", "t/1", "Passed"), row("gone", "t/1", "Passed")])
    assert preflights.answer()["tag"] == tag


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (reached(url="http://elsewhere.test/v1"), "Running"),
        (reached(canary=CANARY.model_copy(update={"model": "gpt-5"})), "Running"),
        (reached(canary=CANARY.model_copy(update={"provider": "legacy"})), "Running"),
        (reached(limits=ProviderLimits(requests_per_minute=1)), "Passed"),
    ],
    ids=["address", "model", "provider", "limits"],
)
def test_what_has_passed_does_not_outlive_the_address_that_it_was_asked_at(
    document: Document, state: str
) -> None:
    preflights = PodPreflights()
    preflights.follow(reached(), "d1")
    preflights.give_duty([0])
    preflights.report(0, "d1", [row("chat", "t/1", "Passed")])
    preflights.follow(document, "d2")
    # what the worker said before it had the document changes nothing
    preflights.report(0, "d1", [row("chat", "t/1", "Passed")])
    assert states(preflights) == {"chat": state}
    assert preflights.passed() == ([(UID, "chat", "t/1")] if state == "Passed" else [])
    preflights.report(0, "d2", [row("chat", "t/1", "Passed")])
    assert states(preflights) == {"chat": "Passed"}
