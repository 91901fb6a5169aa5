"""Writes as text what a command has changed."""

import json
from collections.abc import Iterator

from kubectl_relay.texts.screen import Screen
from kubectl_relay.views.changes import ChangeView


def change(view: ChangeView, screen: Screen, *, dry_run: bool) -> Iterator[str]:
    """Writes what a change does, and what says the same in Git."""
    yield from screen.wrapped(f"{view.route} in {view.namespace} {view.what}", indent=0)
    if view.is_needed:
        done = "would be written (dry run)" if dry_run else "written"
        yield from screen.wrapped(json.dumps(view.patch), label=f"{done}: ")
        yield from screen.wrapped("the same change in Git has the same effect")
    for note in view.notes:
        yield from screen.wrapped(note)
