"""The way of one request for a list over servers and their pages, up to the first page that has something for the tenant.

A server that cannot be asked costs its own entries alone, and pages on which everything is hidden are not told of: their number would say how much is.
"""

from collections.abc import Callable
from typing import Final

from relay.calls.tenants.caller import Caller
from relay.tools.cursors import Place
from relay.tools.decisions import Passed
from relay.tools.gate import Gate
from relay.tools.list_filter import Page, empty_page, place_after
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError

_LIST_SECONDS: Final = 20.0
"""For the first pages of all servers together: clients give up after 60 s, and each of the servers may hang."""
_LEAST_SECONDS: Final = 2.5
"""For a page, however many servers there are."""
_MOST_PAGES: Final = 64
"""That one request asks for; after so many the client asks for the next one itself."""
_OF_ITS_SERVER: Final = frozenset(
    {ProtocolError.server_unavailable, ProtocolError.invalid_answer, ProtocolError.busy}
)
"""Errors that say nothing of other servers."""


class ListWalk:
    """Says where the request of a caller goes next. send asks for a page; servers are all that have such a list, in their order.

    found is the page that has led to the one that is asked for now; None where that is the first, or a server was left out before it.
    """

    __slots__ = (
        "_caller",
        "_gate",
        "_has_page",
        "_message",
        "_pages",
        "_passed",
        "_send",
        "_servers",
        "found",
    )

    def __init__(
        self,
        caller: Caller,
        message: Message,
        passed: Passed,
        gate: Gate,
        servers: tuple[str, ...],
        send: Callable[[Passed], None],
    ) -> None:
        self._caller = caller
        self._message = message
        self._passed = passed
        self._gate = gate
        self._servers = servers
        self._send = send
        # a client that has a cursor has had a page
        self._has_page = "cursor" in message.params
        self._pages = 0
        self.found: Page | None = None

    @property
    def has_others(self) -> bool:
        """True if there are servers whose lists are told where this one's cannot be."""
        return len(self._servers) > 1

    @property
    def page_seconds(self) -> float:
        """How long a server may take for a page where others have lists too."""
        return max(_LEAST_SECONDS, _LIST_SECONDS / len(self._servers))

    def is_of(self, caller: Caller | None) -> bool:
        """Returns whether it is this caller's, by what is in force now: no page is asked for by what was."""
        return caller is self._caller and self._caller.up_to_date

    def start(self) -> None:
        """Asks for the first page."""
        self._ask(self._passed)

    def leads_on(self, page: Page) -> bool:
        """Asks for the page after this one if it has nothing; returns False where the client is to have it."""
        self._has_page = True
        following = page.following
        if page.entries or following is None or self._pages >= _MOST_PAGES:
            return False
        self.found = page
        self._ask_at(following)
        return True

    def leaves_out(self, error: ProtocolError | None) -> bool:
        """Asks the next server in place of one that failed so, or with None answered with an error of its own; returns False if there is none, or the client is to know."""
        following = place_after(self._passed.server, self._servers)
        if following is None or not self._is_of_its_server(error):
            return False
        self.found = None
        self._ask_at(following)
        return True

    def last_page(self, error: ProtocolError | None) -> str | None:
        """Returns the end of the list where its last server failed so; None where the client is to know of that."""
        if self.has_others and self._has_page and self._is_of_its_server(error):
            return empty_page(self._message.id_text, self._passed.question)
        return None

    def _is_of_its_server(self, error: ProtocolError | None) -> bool:
        """Servers that have no such list answer so to the first page; what is said of a cursor, its client has to know."""
        if error is not None:
            return error in _OF_ITS_SERVER
        place = self._passed.question.place
        return place is not None and place.cursor is None

    def _ask_at(self, place: Place) -> None:
        self._ask(self._gate.passed_at(self._message, place))

    def _ask(self, passed: Passed) -> None:
        self._pages += 1
        self._passed = passed
        self._send(passed)
