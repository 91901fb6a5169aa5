"""Writes as text how a tenant is called."""

from collections.abc import Iterator

from kubectl_relay.texts.screen import Screen
from kubectl_relay.texts.tenant import key_line, told_notes
from kubectl_relay.views.access import KeysView


def keys(view: KeysView, screen: Screen) -> Iterator[str]:
    """Writes address and keys, and commands that work as pasted. No secret."""
    yield screen.title(f"Tenant {view.tenant}")
    yield from screen.wrapped(
        view.endpoint
        or "not known to you: ask the platform team for status.endpoint of the Tenant",
        label="base_url  ",
    )
    callers = ", ".join(view.callers) or "nobody (spec.network.allowFrom is empty)"
    if view.endpoint:
        yield from screen.wrapped(callers, label="callers   ")
    for key in view.keys:
        yield from screen.wrapped(key_line(key, screen), label="key       ")
    if view.read_by:
        yield ""
        # one line, however narrow the terminal is: it is to be pasted
        yield f'export OPENAI_API_KEY="$({view.read_by})"'
        if view.endpoint:
            yield f"export OPENAI_BASE_URL={view.endpoint}"
            yield "# the OpenAI SDKs read both variables; to try them, in a pod that may call:"
            yield 'curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"'
    yield from told_notes(view.notes, screen)
