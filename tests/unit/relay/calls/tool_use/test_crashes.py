"""An exception in the handling of a tool server's answer ends its request, also one that is raised over the answer itself."""

from typing import Any

from tests.unit.relay.tools.protocol import PERMISSIONS, gate, request, seal

from relay.calls.tool_use.server_exchange import RoundReader, ServerExchange, ServerRound
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.http.connection_pool import Origin
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.decisions import Passed
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import ERAS
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.seats import ToolSeats

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
HEADERS = [(b"content-type", b"application/json")]
ORIGIN = Origin(name="tools/erp", scheme="http", host="erp.test", port=80, ca_bundle=None)


class Failing(AnswerReader, RoundReader):
    """Raises over the answer, and notes what it is told of that."""

    def __init__(self) -> None:
        self.told: list[Exception] = []

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        return PERMISSIONS

    def reached(self, server_id: str, retry_milliseconds: int, *, says_more: bool) -> None:
        raise RuntimeError("reached")

    def resumed(self) -> None:
        raise RuntimeError("resumed")

    def message(self, text: str) -> None:
        raise RuntimeError("message")

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        raise RuntimeError("answered")

    def failed(self, error: ProtocolError) -> None:
        raise RuntimeError("failed")

    def round_ended(self, exchanges: list[ServerExchange]) -> None:
        raise RuntimeError("round ended")

    def crashed(self, error: Exception) -> None:
        self.told.append(error)


class Connections:
    """Keeps whoever waits for a connection."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def pool(self, origin: Origin) -> "Connections":
        return self

    def acquire(self, call: Any, now: float) -> None:
        self.waiting.append(call)

    def cancel(self, call: Any) -> None:
        """Does nothing: there is no connection."""


def as_a_connection_does(receiver: Any) -> None:
    """Hands over an answer, and the exception that it is met with."""
    try:
        receiver.response(200, HEADERS, 0.0)
        receiver.body_received(ANSWER, 0.0)
        receiver.read_ended(0.0, completed=True)
    except RuntimeError as error:
        receiver.crashed(error)


def test_a_call_whose_reader_fails_over_the_answer_is_not_left_hanging() -> None:
    passed = gate().decide(request("tools/call", name="read_invoice"))
    assert isinstance(passed, Passed)
    reader, nothing = Failing(), Connections()
    chat = ChatPolicy(PERMISSIONS, "Hide")
    access = ToolAccess(
        permissions=PERMISSIONS,
        chat=chat,
        upstreams={},
        heads={},
        versions=tuple(ERAS),
        narrowed={},
    )
    providers: Any = nothing
    call = ToolCall(providers, access, passed, b"", seal(), reader)
    as_a_connection_does(call)
    assert [str(error) for error in reader.told] == ["answered"]


async def test_a_round_whose_reader_fails_over_its_end_is_not_left_hanging() -> None:
    reader, nothing = Failing(), Connections()
    providers: Any = nothing
    seats = ToolSeats().rounds
    exchanges: list[ServerExchange] = []
    for name in ("erp", "mail"):
        seat = seats.take(name, "production", servers=2, keys=1)
        assert seat is not None
        exchanges.append(ServerExchange(providers, name, ORIGIN, b"", seat))
    ServerRound(exchanges, reader).start()
    for exchange in nothing.waiting:
        as_a_connection_does(exchange)
    assert [str(error) for error in reader.told] == ["round ended"]
