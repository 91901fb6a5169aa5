"""The steps that lie ahead of a route, as text."""

from collections.abc import Iterator

from kubectl_relay.texts.route import headline, sides
from kubectl_relay.texts.screen import Screen, table
from kubectl_relay.views.plan import PlanView, StepView

_FIRST, _LAST = 8, 3


def plan(view: PlanView, screen: Screen) -> Iterator[str]:
    """Writes what comes, when at the earliest, and what it takes."""
    yield f"{headline(view.route, screen)}  ({view.route.namespace})"
    yield from screen.wrapped(sides(view.route))
    if view.route.next:
        yield from screen.wrapped(view.route.next, label="next: ")
    if view.waits_for:
        yield from screen.wrapped(view.waits_for, label="it waits: ")
    if view.steps:
        yield ""
        ended = "; if that ended now" if view.waits_for else ""
        yield screen.title(f"Steps, each at the earliest{ended}")
        yield from (f"  {line}" for line in table(_rows(view.steps, screen)))
    if view.cost:
        yield from screen.wrapped(view.cost, label="cost of 1,000 calls: ")
    for need in view.takes:
        yield from screen.wrapped(need, label="it takes ")
    if view.ends:
        yield from screen.wrapped(view.ends)


def _rows(steps: tuple[StepView, ...], screen: Screen) -> Iterator[tuple[str, str]]:
    """Yields the first steps and the last ones where there are too many for a screen."""
    left_out = len(steps) - _FIRST - _LAST
    shown = steps if left_out <= 1 else (*steps[:_FIRST], *steps[-_LAST:])
    for number, step in enumerate(shown):
        if left_out > 1 and number == _FIRST:
            yield f"... {left_out} more", ""
        yield _what(step), screen.moment(step.earliest)


def _what(step: StepView) -> str:
    match step.kind:
        case "Shadowing":
            return "copies of calls"
        case "Baking":
            return "all traffic, bakes"
        case "Promoted":
            return "promoted"
        case _:
            return f"{step.canary_percent} %"
