"""The preflights of a pod: what a document asks for, one worker that probes, and what outlives it."""

from typing import Any

from tests.unit.relay.documents import CANARY, STABLE, document

from relay.process.pod_state.preflights import PodPreflights
from relay_contract.document import Document, Route

UID = "uid-1"


def asking(**tokens: str | None) -> Document:
    return document(
        routes=tuple(
            Route(name=name, stable=STABLE, canary=CANARY, preflight=token)
            for name, token in tokens.items()
        )
    )


def states(preflights: PodPreflights) -> dict[str, str]:
    return {entry["route"]: entry["state"] for entry in preflights.entries()}


def row(route: str, token: str, state: str, reason: str = "", message: str = "") -> list[Any]:
    return [UID, route, token, state, reason, message]


def test_what_a_document_asks_for_is_running_until_its_worker_tells_more() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/1", code=None, other="t/2"))
    assert states(preflights) == {"chat": "Running", "other": "Running"}
    assert preflights.give_duty([1, 0])
    preflights.report(0, [row("chat", "t/1", "Failed", "Unauthorized", "says 401")])
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
    preflights.follow(asking(chat="t/1"))
    preflights.give_duty([0, 1])
    preflights.report(1, [row("chat", "t/1", "Passed")])
    assert states(preflights) == {"chat": "Running"}


def test_what_has_passed_outlives_its_worker_and_the_document_but_not_its_token() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/1"))
    preflights.give_duty([0])
    preflights.report(0, [row("chat", "t/1", "Passed")])
    preflights.give_duty([])
    preflights.follow(asking(chat="t/1", code="t/2"))
    assert preflights.passed() == [(UID, "chat", "t/1")]
    assert states(preflights) == {"chat": "Passed", "code": "Running"}
    preflights.follow(asking(chat="t/9"))
    assert (states(preflights), preflights.passed()) == ({"chat": "Running"}, [])


def test_a_report_about_a_former_document_changes_nothing() -> None:
    preflights = PodPreflights()
    preflights.follow(asking(chat="t/2"))
    preflights.give_duty([0])
    tag = preflights.answer()["tag"]
    preflights.report(0, [row("chat", "t/1", "Passed"), row("gone", "t/1", "Passed")])
    assert preflights.answer()["tag"] == tag
