"""Requests that the relay answers itself, without a provider."""

import time
from abc import abstractmethod
from collections.abc import Callable
from urllib.parse import unquote

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.path_table import HandlerFactory
from relay.calls.refusal_of import PROBLEM_REFUSAL
from relay.calls.response_writer import ResponseWriter
from relay.calls.tenants.caller import Caller, check_size, identify, request_id
from relay.dialect.endpoints import MODEL, OTHER
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.http.problem import Problem
from relay.http.request_handler import RequestHandler


class OwnRequest(RequestHandler):
    """Answered at once when its body is there, or refused before. endpoint names it in metrics."""

    __slots__ = (
        "_connection",
        "_context",
        "_endpoint",
        "_over",
        "_request_id",
        "_writer",
        "caller",
        "request",
    )

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request, endpoint: str
    ) -> None:
        self._context = context
        self._connection = connection
        self._endpoint = endpoint
        self._over = False
        self._request_id = request_id(request)
        self._writer = ResponseWriter(connection, request)
        self.caller: Caller | None = None
        self.request = request

    @abstractmethod
    def answer(self) -> None:
        """Calls `send` or `refuse`."""

    def request_complete(self) -> None:
        if not self._over:
            self.answer()

    def send(self, status: int, fields: bytes, body: bytes) -> None:
        """Sends the whole answer."""
        now = time.monotonic()
        keep = self._connection.keeps_alive(self.request, now)
        self._writer.whole(status, fields + self._common_fields(now), body, keep_alive=keep)
        self._finish(now, keep_alive=keep)

    def unusable(self, problem: Problem) -> None:
        self.refuse(PROBLEM_REFUSAL[problem])

    def refuse(self, refusal: Refusal, *, message: str | None = None, fields: bytes = b"") -> None:
        """Refuses the request, with a message of its own and further header fields."""
        if self._over:
            return
        now = time.monotonic()
        self._context.metrics.rejections[(refusal.name,)] += 1
        keep = self._connection.keeps_alive(self.request, now)
        self._writer.refusal(
            refusal,
            fields + self._common_fields(now),
            message=message,
            retry_after_seconds=None,
            keep_alive=keep,
        )
        self._finish(now, keep_alive=keep)

    def client_gone(self) -> None:
        if not self._over:
            self._writer.abandoned()
            self._finish(time.monotonic(), keep_alive=False)

    def crashed(self, error: Exception) -> None:
        self._context.exceptions.note(error)
        if self._over:
            self._connection.abort()
        else:
            self.request.keep_alive = False
            self.refuse(Refusal.internal_error)

    def pause(self) -> None:
        """Does nothing: the answer is one write."""

    def resume(self) -> None:
        """Does nothing: the answer is one write."""

    def _common_fields(self, now: float) -> bytes:
        return own_responses.common_fields(self._request_id, self.caller, "", now)

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        self._over = True
        series = self._context.metrics.calls(self._endpoint, "")
        series.answered(self._writer.status, now - self.request.received_at)
        self._connection.finished(now, keep_alive=keep_alive)


class TenantRequest(OwnRequest):
    """A request for something that only the tenant's own callers may read."""

    __slots__ = ()

    def begin(self) -> None:
        caller = identify(self.request, self._context.tenants)
        refusal: Refusal | None
        if isinstance(caller, Refusal):
            refusal = caller
        else:
            self.caller = caller
            refusal = check_size(self.request, self._context.max_body_bytes)
        if refusal is not None:
            self.refuse(refusal)
        else:
            self._connection.want_body(self.request)

    def answer(self) -> None:
        if self.caller is not None:
            self.tell(self.caller)

    def caller_now(self) -> Caller | None:
        """Returns who calls, by what is in force now, of a request that goes on for long; None if it may not any more."""
        if self.caller is not None and not self.caller.up_to_date:
            found = identify(self.request, self._context.tenants)
            if isinstance(found, Refusal):
                return None
            self.caller = found
        return self.caller

    @abstractmethod
    def tell(self, caller: Caller) -> None:
        """Calls `send` or `refuse`."""


class ModelListRequest(TenantRequest):
    """GET /v1/models."""

    __slots__ = ()

    def tell(self, caller: Caller) -> None:
        self.send(200, own_responses.JSON, own_responses.models_body(caller.snapshot))


class ModelRequest(TenantRequest):
    """GET /v1/models/{id}."""

    __slots__ = ()

    def tell(self, caller: Caller) -> None:
        name = unquote(self.request.path[len(MODEL) :].decode("ascii"))
        body = own_responses.model_body(caller.snapshot, name)
        if body is None:
            message = own_responses.no_such_model(caller.snapshot, name)
            self.refuse(Refusal.model_not_found, message=message)
        else:
            self.send(200, own_responses.JSON, body)


class UnknownPathRequest(OwnRequest):
    """A request for a path that the relay does not know."""

    __slots__ = ()

    def begin(self) -> None:
        self.refuse(Refusal.unknown_url)

    def answer(self) -> None:
        self.refuse(Refusal.unknown_url)


class OtherMethodRequest(OwnRequest):
    """A request with a method that its path does not take: OPTIONS is answered, which says nothing about the tenant."""

    __slots__ = ("_allow",)

    def __init__(
        self,
        context: CallContext,
        connection: ClientConnection,
        request: Request,
        endpoint: str,
        allow: bytes,
    ) -> None:
        super().__init__(context, connection, request, endpoint)
        self._allow = allow

    def begin(self) -> None:
        if self.request.method != b"OPTIONS":
            self.refuse(Refusal.method_not_allowed, fields=self._allow)

    def answer(self) -> None:
        self.send(204, self._allow, b"")


class OwnRequests(HandlerFactory):
    """Makes the handlers of requests that the relay answers itself, all of one class."""

    __slots__ = ("_context", "_kind")

    def __init__(
        self,
        context: CallContext,
        kind: Callable[[CallContext, ClientConnection, Request, str], OwnRequest],
    ) -> None:
        self._context = context
        self._kind = kind

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        return self._kind(self._context, connection, request, OTHER)


class OtherMethods(HandlerFactory):
    """Makes the handlers of requests whose method a path does not take. methods are those it takes."""

    __slots__ = ("_allow", "_context", "_endpoint")

    def __init__(self, context: CallContext, *, endpoint: str, methods: bytes) -> None:
        self._context = context
        self._endpoint = endpoint
        # RFC 9110 section 10.2.1
        self._allow = b"allow: %b, OPTIONS\r\n" % methods

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        return OtherMethodRequest(self._context, connection, request, self._endpoint, self._allow)
