"""Failures that a test arranges for one connection to the in-memory API server."""

from collections.abc import Callable
from dataclasses import dataclass, field

from relay_operator.cluster.api_server import error_of
from relay_operator.errors import Unavailable

DOCUMENT = "Document"
"""Stands for a kind where a document is pushed to a relay pod, past the API server."""


class OperatorDied(BaseException):
    """Ends the operator at exactly this point; no handler of ours catches it, as none survives a SIGKILL."""


@dataclass(slots=True)
class InjectedFailures:
    """What goes wrong, and when. Writes, and pushes to relays, are counted from 1 over the life of the connection.

    seconds is how long each call takes, statuses maps a kind to the HTTP status of every call to it; refused_objects maps kind and name to that of patches of
    one object; failing_writes maps a write's number to the status it gets without taking effect; dies_after is the number of the write after whose effect the operator is killed.
    """

    unreachable: bool = False
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    refused_objects: dict[tuple[str, str], int] = field(default_factory=dict)
    failing_writes: dict[int, int] = field(default_factory=dict)
    dies_after: int | None = None
    on_death: Callable[[], None] = lambda: None
    dead: bool = False
    writes: int = 0

    def before_call(self, verb: str, kind: str) -> None:
        """Raises what this call meets before the server sees it."""
        if self.dead:
            raise OperatorDied
        if self.unreachable and kind != DOCUMENT:
            raise Unavailable(f"{verb} {kind}: the API server cannot be reached")
        if kind in self.statuses:
            status = self.statuses[kind]
            raise error_of(status, f"{verb} {kind}: {status} injected")

    def before_write(self, verb: str, kind: str, name: str = "") -> None:
        """Counts the write; raises what it meets before it takes effect."""
        self.before_call(verb, kind)
        self.writes += 1
        if (kind, name) in self.refused_objects:
            status = self.refused_objects[kind, name]
            raise error_of(status, f"{verb} {kind} {name}: {status} injected")
        failing = self.failing_writes.get(self.writes)
        if failing is not None:
            raise error_of(failing, f"{verb} {kind}: {failing} injected into write {self.writes}")

    def after_write(self) -> None:
        """Kills the operator when this was its last write; every later call of this life dies as well."""
        if self.writes == self.dies_after:
            self.dead = True
            self.on_death()
            raise OperatorDied
