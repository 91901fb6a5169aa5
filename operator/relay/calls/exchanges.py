"""Makes the exchanges of calls."""

from relay.calls.call_context import CallContext
from relay.calls.exchange import Exchange
from relay.calls.path_table import HandlerFactory
from relay.dialect.endpoints import Endpoint
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.http.request_handler import RequestHandler


class Exchanges(HandlerFactory):
    """Handles the paths of one endpoint by exchanges."""

    __slots__ = ("_context", "_endpoint")

    def __init__(self, context: CallContext, endpoint: Endpoint) -> None:
        self._context = context
        self._endpoint = endpoint

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        return Exchange(self._context, self._endpoint, connection, request)
