"""Routes as text: in short, what moved one, and the moves of several."""

from collections.abc import Iterable, Iterator

from kubectl_relay.texts.screen import Colour, Screen, bar, state_of, table
from kubectl_relay.views.raw import UNSEEN, ConditionView
from kubectl_relay.views.route import MoveView, RouteView, ShadowView, WhyView

_COLOURS: dict[str, Colour] = {
    "Promoted": "good",
    "Stable": "good",
    "RolledBack": "bad",
    "Frozen": "bad",
}


def headline(route: RouteView, screen: Screen) -> str:
    """Writes name, phase and weight."""
    phase = route.phase or "not looked at yet"
    line = f"{screen.title(route.name)}  {screen.paint(phase, _COLOURS.get(phase, 'waiting'))}"
    if route.target_percent is None:
        return line
    weight = f"{route.canary_percent} % of {route.target_percent} %"
    return f"{line}  {bar(route.canary_percent, route.target_percent)} {weight}"


def sides(route: RouteView) -> str:
    """Writes where calls go, and where they are to move."""
    if not route.canary:
        return f"all calls to {route.stable}"
    return f"from {route.stable} to {route.canary}"


def short(route: RouteView, screen: Screen) -> Iterator[str]:
    """Writes a route in two to four lines."""
    yield f"  {headline(route, screen)}"
    yield from screen.wrapped(sides(route), indent=4)
    facts = [f"verdict {route.verdict}"] if route.verdict and route.canary else []
    if route.next:
        facts.append(f"next: {route.next}")
    if route.cost:
        facts.append(f"cost of 1,000 calls: {route.cost}")
    if route.pods_acknowledged < route.pods:
        facts.append(f"in force in {route.pods_acknowledged} of {route.pods} relay pods")
    if not route.is_observed:
        facts.append(UNSEEN)
    if facts:
        yield from screen.wrapped("; ".join(facts), indent=4)
    if route.ready.status != "True":
        yield from not_ready(route.ready, screen, indent=4)


def not_ready(ready: ConditionView, screen: Screen, *, indent: int) -> Iterator[str]:
    """Writes a condition that a person should look at."""
    told = ready.reason or "the operator has not told yet"
    label = f"{ready.type} {ready.status} ({told})"
    first, *rest = screen.wrapped(f"{label}: {ready.message}", indent=indent)
    yield first.replace(label, screen.paint(label, state_of(ready.status)), 1)
    yield from rest


def told_moves(moves: Iterable[MoveView], screen: Screen, *, named: bool) -> Iterator[str]:
    """Writes decisions, oldest first; named with the route of each."""
    for move in moves:
        route = f"{move.route}: " if named else ""
        proof = " [not certified]" if move.certified is False else ""
        told = f"{route}{move.reason}, canary {move.canary_percent} %{proof}: {move.message}"
        yield from screen.wrapped(told, label=f"{screen.ago(move.at)}  ")


def why(view: WhyView, screen: Screen) -> Iterator[str]:
    """Writes what moved a route, and on which evidence."""
    route = view.route
    yield f"{headline(route, screen)}  ({route.namespace})"
    yield from screen.wrapped(sides(route))
    if not route.is_observed:
        yield from screen.wrapped(UNSEEN)
    yield ""
    yield screen.title("Why")
    yield from screen.wrapped(_cause(view))
    if route.ready.message and route.ready.message != _cause(view):
        yield from not_ready(route.ready, screen, indent=2)
    for trouble in view.troubles:
        if trouble.message not in (route.ready.message, view.cause):
            yield from not_ready(trouble, screen, indent=2)
    for command in view.commands:
        yield f"  {command}"
    yield from _evidence(view, screen)
    if view.moves:
        yield ""
        yield screen.title("Moves, the newest last")
        yield from told_moves(view.moves, screen, named=False)


def _cause(view: WhyView) -> str:
    """Says what put the route where it is."""
    if view.cause:
        return view.cause
    if view.moves:
        last = view.moves[-1]
        return f"{last.reason}: {last.message}"
    return view.route.ready.message or "the operator has not decided anything about this route yet"


def _evidence(view: WhyView, screen: Screen) -> Iterator[str]:
    if view.preflight:
        yield ""
        yield screen.title("Preflight, which has not passed")
        yield from screen.wrapped(view.preflight)
    if view.shadow is not None:
        yield ""
        yield from _shadow(view.shadow, screen)
    if not view.measured_at:
        return
    yield ""
    yield f"{screen.title('Evidence')}, measured {screen.moment(view.measured_at)}"
    yield from screen.wrapped(f"{view.verdict} ({view.verdict_reason}): {view.verdict_message}")
    for told in (view.throttled, view.stable_finding):
        if told:
            yield from screen.wrapped(told)
    if view.metrics:
        head = ("limit", "canary", "stable", "held to", "evidence", "proven good")
        rows = [
            (one.name, one.canary, one.stable, one.limit, one.evidence, _yes(one.certified))
            for one in view.metrics
        ]
        yield from _fitting([head, *rows], screen)


def _fitting(rows: list[tuple[str, ...]], screen: Screen) -> Iterator[str]:
    """Writes a table, or one line a figure where the table is wider than the terminal."""
    lines = [f"  {line}" for line in table(rows)]
    if all(len(line) <= screen.width for line in lines):
        yield from lines
        return
    head, *body = rows
    for row in body:
        yield from screen.wrapped(row[0])
        for name, told in zip(head[1:], row[1:], strict=True):
            yield from screen.wrapped(told, indent=4, label=f"{name}: ")


def _shadow(shadow: ShadowView, screen: Screen) -> Iterator[str]:
    yield f"{screen.title('Shadow copies')} since {screen.moment(shadow.started_at)}"
    yield from screen.wrapped(
        f"{shadow.matched} of {shadow.compared} compared are like stable's, {shadow.failed} failed; two answers of "
        f"stable itself: {shadow.stable_matched} of {shadow.stable_compared} alike"
    )
    for kind, canary, stable in shadow.differences:
        yield from screen.wrapped(f"{kind}: {canary} of the canary's, {stable} of stable's")


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
