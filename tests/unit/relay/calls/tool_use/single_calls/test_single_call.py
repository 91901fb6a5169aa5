"""A call that must not be carried out twice: what its answer is told to, in which order."""

from typing import Any, cast

import pytest
from tests.unit.relay.calls.tool_use.test_crashes import Connections, as_a_connection_does
from tests.unit.relay.tools.protocol import PERMISSIONS, gate, request, seal

from relay.accounting.exception_log import ExceptionLog
from relay.calls.tool_use.single_calls.call_memory import CallMemory, ClaimTicket
from relay.calls.tool_use.single_calls.single_call import SingleCall
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.calls.tool_use.tool_record import ToolRecord
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.decisions import Passed
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import ERAS
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal


class Books(AnswerReader):
    """Stands in the place of a request and of its record, which need a tenant's books: notes what they are told, and the pod's memory."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fault: Exception | None = None

    def send(self, kind: str, **fields: Any) -> None:
        self.told.append(f"{kind} {fields['how']}")

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        return PERMISSIONS

    def reached(self, server_id: str, retry_milliseconds: int, *, says_more: bool) -> None:
        raise AssertionError

    def resumed(self) -> None:
        raise AssertionError

    def message(self, text: str) -> None:
        raise AssertionError

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        if self.fault is not None:
            raise self.fault
        self.told.append(outcome)

    def failed(self, error: ProtocolError) -> None:
        self.told.append(error.name)

    def crashed(self, error: Exception) -> None:
        self.told.append("crashed")

    def ended(self, outcome: str, answer_bytes: int, now: float) -> None:
        self.told.append(outcome)


class Connection:
    """Takes what is sent."""

    def send(self, receiver: Any, pieces: list[bytes], now: float, **seconds: float) -> None:
        assert pieces

    def resume(self) -> None:
        """Does nothing: it is read whenever the test says so."""


class Server(Connections):
    """The way to a server, and how long it may take."""

    first_byte_timeout = idle_timeout = 1.0


def begun(books: Books) -> tuple[SingleCall, ToolCall]:
    """Begins a call that its server has."""
    passed = gate().decide(request("tools/call", name="read_invoice"))
    assert isinstance(passed, Passed)
    memory = CallMemory()
    memory.send = books.send
    access = ToolAccess(
        permissions=PERMISSIONS,
        chat=ChatPolicy(PERMISSIONS, "Hide"),
        upstreams={},
        heads={passed.server: b""},
        versions=tuple(ERAS),
        narrowed={},
    )
    exceptions = cast(ExceptionLog, None)
    single = SingleCall(ClaimTicket(memory, 1, "one"), books, exceptions, PERMISSIONS)
    call = ToolCall(cast(Any, Server()), access, passed, b"", seal(), single)
    single._call = call
    call.connected(cast(Any, Connection()), 0.0)
    return single, call


@pytest.mark.parametrize("leaves", [False, True], ids=["with its caller", "alone"])
async def test_an_answer_is_booked_before_anybody_is_told_it_again(leaves: bool) -> None:
    books = Books()
    single, call = begun(books)
    if leaves:
        assert single.leave(cast(ToolRecord, books), None)
    as_a_connection_does(call)
    assert books.told == ["ok", "tool_ended answered"]


async def test_a_fault_in_telling_its_caller_does_not_cost_the_answer() -> None:
    books = Books()
    books.fault = RuntimeError("no")
    _, call = begun(books)
    as_a_connection_does(call)
    assert books.told == ["tool_ended answered", "crashed"]
