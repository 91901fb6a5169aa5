"""Every method of the protocol, in both eras and both directions, with its rule. What is not here is unknown.

The methods are those of the schemas of 2025-11-25 and 2026-07-28 (modelcontextprotocol/modelcontextprotocol, schema/), and of
the extension io.modelcontextprotocol/tasks.
"""

from enum import Enum
from typing import Final

from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Kind


class Sender(Enum):
    """Who sends a message."""

    CLIENT = "client"
    SERVER = "server"


class Rule(Enum):
    """What decides whether a message passes."""

    OWN = "own"
    """The relay answers it."""
    DONE = "done"
    """The relay takes it, and nothing is left to do: what it asks for happens by other means."""
    LISTED = "listed"
    """Passes; of the answer the granted entries."""
    TOOL = "tool"
    """Passes if `name` is a granted tool."""
    PROMPT = "prompt"
    """Passes if `name` is a granted prompt."""
    RESOURCE = "resource"
    """Passes if `uri` is a granted resource."""
    COMPLETION = "completion"
    """Passes if `ref` is a granted prompt, resource or template."""
    SUBSCRIPTION = "subscription"
    """Passes if every resource in the filter is granted."""
    TOOLS_CHANGED = "tools changed"
    """Passes if the tenant has tools of this server; the next two say the same of prompts and resources."""
    PROMPTS_CHANGED = "prompts changed"
    RESOURCES_CHANGED = "resources changed"
    PAIRED = "paired"
    """Passes: it belongs to a request or session of this caller alone, and names nothing that is granted."""
    DENIED = "denied"
    """Does not pass. To a caller the method is unknown."""


_Key = tuple[Era, Sender, Kind, str]


def _rows(
    sender: Sender, kind: Kind, methods: dict[str, tuple[Rule | None, Rule | None]]
) -> dict[_Key, Rule]:
    """Returns rows of the table. Each method has its rule in the legacy and in the modern era, None where it does not exist."""
    rows: dict[_Key, Rule] = {}
    for method, (legacy, modern) in methods.items():
        if legacy is not None:
            rows[(Era.LEGACY, sender, kind, method)] = legacy
        if modern is not None:
            rows[(Era.MODERN, sender, kind, method)] = modern
    return rows


TABLE: Final[dict[_Key, Rule]] = {
    **_rows(
        Sender.CLIENT,
        Kind.REQUEST,
        {
            "initialize": (Rule.OWN, None),
            "server/discover": (None, Rule.OWN),
            "ping": (Rule.OWN, None),
            "tools/list": (Rule.LISTED, Rule.LISTED),
            "tools/call": (Rule.TOOL, Rule.TOOL),
            "prompts/list": (Rule.LISTED, Rule.LISTED),
            "prompts/get": (Rule.PROMPT, Rule.PROMPT),
            "resources/list": (Rule.LISTED, Rule.LISTED),
            "resources/templates/list": (Rule.LISTED, Rule.LISTED),
            "resources/read": (Rule.RESOURCE, Rule.RESOURCE),
            "resources/subscribe": (Rule.RESOURCE, None),
            "resources/unsubscribe": (Rule.RESOURCE, None),
            "subscriptions/listen": (None, Rule.SUBSCRIPTION),
            "completion/complete": (Rule.COMPLETION, Rule.COMPLETION),
            "logging/setLevel": (Rule.PAIRED, None),
            # ids of tasks are bound to no tool and no tenant
            "tasks/get": (Rule.DENIED, Rule.DENIED),
            "tasks/result": (Rule.DENIED, None),
            "tasks/list": (Rule.DENIED, None),
            "tasks/cancel": (Rule.DENIED, Rule.DENIED),
            "tasks/update": (None, Rule.DENIED),
        },
    ),
    **_rows(
        Sender.CLIENT,
        Kind.NOTIFICATION,
        {
            "notifications/initialized": (Rule.PAIRED, None),
            # over HTTP the end of the answer's stream cancels a modern request
            "notifications/cancelled": (Rule.PAIRED, Rule.DONE),
            "notifications/progress": (Rule.PAIRED, None),
            "notifications/roots/list_changed": (Rule.PAIRED, None),
            "notifications/tasks/status": (Rule.DENIED, None),
        },
    ),
    **_rows(
        Sender.SERVER,
        Kind.REQUEST,
        {
            # in the modern era they stand inside a result that asks for input
            "ping": (Rule.PAIRED, None),
            "sampling/createMessage": (Rule.PAIRED, None),
            "elicitation/create": (Rule.PAIRED, None),
            "roots/list": (Rule.PAIRED, None),
            "tasks/get": (Rule.DENIED, None),
            "tasks/result": (Rule.DENIED, None),
            "tasks/list": (Rule.DENIED, None),
            "tasks/cancel": (Rule.DENIED, None),
        },
    ),
    **_rows(
        Sender.SERVER,
        Kind.NOTIFICATION,
        {
            "notifications/cancelled": (Rule.PAIRED, Rule.DENIED),
            "notifications/progress": (Rule.PAIRED, Rule.PAIRED),
            "notifications/message": (Rule.PAIRED, Rule.PAIRED),
            "notifications/subscriptions/acknowledged": (None, Rule.PAIRED),
            "notifications/tools/list_changed": (Rule.TOOLS_CHANGED, Rule.TOOLS_CHANGED),
            "notifications/prompts/list_changed": (Rule.PROMPTS_CHANGED, Rule.PROMPTS_CHANGED),
            "notifications/resources/list_changed": (
                Rule.RESOURCES_CHANGED,
                Rule.RESOURCES_CHANGED,
            ),
            "notifications/resources/updated": (Rule.RESOURCE, Rule.RESOURCE),
            "notifications/elicitation/complete": (Rule.PAIRED, None),
            "notifications/tasks/status": (Rule.DENIED, None),
            "notifications/tasks": (None, Rule.DENIED),
        },
    ),
}


def rule_of(era: Era, sender: Sender, kind: Kind, method: str) -> Rule:
    """Returns the rule of a method; DENIED of one that the protocol does not have."""
    return TABLE.get((era, sender, kind, method), Rule.DENIED)
