"""Finds the handler of a request by its path."""

from abc import ABC, abstractmethod

from mypy_extensions import trait

from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.http.request_handler import RequestHandler


@trait
class HandlerFactory(ABC):
    """Makes the handlers of one kind of request."""

    @abstractmethod
    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        """Makes the request's handler; it has not begun."""


class PathEntry:
    """A path the relay knows. A request with another method than those goes to `others`."""

    __slots__ = ("handlers", "methods", "others")

    def __init__(
        self, methods: frozenset[bytes], handlers: HandlerFactory, others: HandlerFactory
    ) -> None:
        self.methods = methods
        self.handlers = handlers
        self.others = others


class PathTable:
    """Paths and what handles them; unknown takes requests for any other path."""

    __slots__ = ("_paths", "_prefixes", "_unknown")

    def __init__(self, unknown: HandlerFactory) -> None:
        self._paths: dict[bytes, PathEntry] = {}
        self._prefixes: list[tuple[bytes, PathEntry]] = []
        self._unknown = unknown

    def register(self, path: bytes, entry: PathEntry) -> None:
        """Adds a path."""
        self._paths[path] = entry

    def register_prefix(self, prefix: bytes, entry: PathEntry) -> None:
        """Adds every path that begins so and is not registered itself."""
        self._prefixes.append((prefix, entry))

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        """Makes the handler of a request."""
        entry = self._paths.get(request.path)
        if entry is None:
            entry = self._by_prefix(request.path)
            if entry is None:
                return self._unknown.handler(connection, request)
        if request.method in entry.methods:
            return entry.handlers.handler(connection, request)
        return entry.others.handler(connection, request)

    def _by_prefix(self, path: bytes) -> PathEntry | None:
        for prefix, entry in self._prefixes:
            if path.startswith(prefix):
                return entry
        return None
