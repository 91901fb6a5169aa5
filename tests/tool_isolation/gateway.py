"""A gateway as the suite sees it: two tenants, the server behind it, and what its operator can do by hand."""

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.blackbox.wire import Answer
from tests.tool_isolation.callers import Caller, Client, entered, messages, result_of
from tests.tool_isolation.watched_server import WatchedServer


@dataclass(frozen=True, slots=True)
class Tenant:
    """A caller, and the published names of the tool of both and of what only this one may use; "" for what is not offered."""

    caller: Caller
    shared: str
    tool: str
    prompt: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class ByHand:
    """What the suite cannot do over HTTP. None: the rows that need it are not applicable.

    revoke takes the first tenant's tool away, limit gives both tenants a low rate, log returns all that the gateway wrote
    so far, records the lines of who called what.
    """

    revoke: Callable[[], None] | None = None
    limit: Callable[[], None] | None = None
    log: Callable[[], str] | None = None
    records: Callable[[], list[str]] | None = None


@dataclass
class Gateway:
    """What a run tries: two tenants, the first one's name of a tool of neither's, and how often and how long it is tried.

    clients are those of the two tenants in each era, of the row that is tried.
    """

    one: Tenant
    other: Tenant
    denied: str
    server: WatchedServer
    by_hand: ByHand = field(default_factory=ByHand)
    rounds: int = 1000
    pairs: int = 1000
    hang_seconds: float = 12.0
    clients: list[tuple[Client, Client]] = field(default_factory=list)

    def enter(self) -> None:
        """Begins anew with both tenants in each era that both are let into; raises AssertionError if there is none."""
        ones = {client.era: client for client in entered(self.one.caller)}
        others = {client.era: client for client in entered(self.other.caller)}
        found = [(ones[era], others[era]) for era in ones if era in others]
        told = [(one.url, one.answers[-3:]) for one in (self.one.caller, self.other.caller)]
        assert found, f"no era of the protocol is spoken with both tenants: {told}"
        self.clients = found

    @property
    def unknown(self) -> str:
        """Returns the name of no tool, with the same prefix and length as the denied one's."""
        half = len(self.denied) // 2
        return self.denied[:half] + "q" * (len(self.denied) - half)

    def works(self, client: Client, tool: str, **arguments: Any) -> bool:
        """Returns whether a call of the tool is answered with what the server behind said to it."""
        mark = new_mark()
        return was_answered(client.call(tool, mark=mark, **arguments), mark)


_serial = itertools.count(1)


def new_mark() -> str:
    """Returns a text that stands in no other call."""
    return f"mark-{next(_serial)}-{uuid.uuid4().hex}"


def was_answered(answer: Answer, mark: str) -> bool:
    """Returns whether an answer has the result of the call with this mark."""
    return mark in str(result_of(answer))


def was_refused(answer: Answer) -> bool:
    """Returns whether a request has no result."""
    return result_of(answer) is None


def entries(client: Client, kind: str) -> tuple[list[dict[str, Any]], bytes]:
    """Returns all pages of a list of tools, prompts or resources, and the bytes of their answers with their headers."""
    found: list[dict[str, Any]] = []
    seen = b""
    cursor: dict[str, str] = {}
    for _ in range(50):
        answer = client.ask(f"{kind}/list", **cursor)
        seen += answer.body + str(answer.headers).encode()
        result = result_of(answer)
        if result is None:
            break
        found += [one for one in result.get(kind, []) if isinstance(one, dict)]
        if not result.get("nextCursor"):
            break
        cursor = {"cursor": result["nextCursor"]}
    return found, seen


def names(client: Client, kind: str = "tools") -> list[str]:
    """Returns the names (or URIs) in a list."""
    return [one.get("uri", one.get("name", "")) for one in entries(client, kind)[0]]


def said(answer: Answer) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Returns what a caller can tell an answer by: status, names of its headers, and its messages or its bytes."""
    told = messages(answer.body)
    return (
        answer.status,
        tuple(sorted({name for name, _ in answer.headers})),
        tuple(str(one) for one in told) or (answer.body.decode("latin-1"),),
    )
