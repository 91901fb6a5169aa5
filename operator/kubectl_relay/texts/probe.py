"""Writes as text what a look at a tenant found."""

from collections.abc import Iterator

from kubectl_relay.texts.screen import Colour, Screen
from kubectl_relay.views.probe import ProbeView

_MARKS: dict[bool | None, tuple[str, Colour]] = {
    True: ("ok", "good"),
    False: ("FAILED", "bad"),
    None: ("warning", "waiting"),
}


def probe(view: ProbeView, screen: Screen) -> Iterator[str]:
    """Writes a line for each finding."""
    yield screen.title(f"Tenant {view.tenant}")
    for check in view.checks:
        mark, colour = _MARKS[check.passed]
        first, *rest = screen.wrapped(check.message, label=f"{mark}  {check.name}: ")
        yield first.replace(mark, screen.paint(mark, colour), 1)
        yield from rest
