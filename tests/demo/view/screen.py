"""Where the demonstration tells what it does: on a terminal above a live table of all routes, elsewhere line by line."""

import textwrap
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from tests.demo.commands import Cluster
from tests.demo.view import bill as bills
from tests.demo.view.api_proxy import ApiProxy
from tests.demo.view.figures import QUESTION, Figures, RouteKey, read
from tests.demo.view.route_line import RouteLine, line_of
from tests.demo.view.table import table

_LOOK_SECONDS: Final = 1.0
_DRAWN_A_SECOND: Final = 4
_ROUTES: Final = "/apis/relay-operator.dev/v1alpha1/relayroutes"


class Told(Protocol):
    """What a line of the story is told to."""

    def __call__(self, text: str) -> None: ...


class Watching:
    """Looks at all routes once a second, in a thread of its own, and keeps what was seen last.

    What cannot be read is left as it was: the story says what fails, the view only shows.
    """

    def __init__(self, proxy: ApiProxy) -> None:
        self._proxy = proxy
        self._seen: tuple[RouteLine, ...] = ()
        self._figures: dict[RouteKey, Figures] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begins to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._over.set()
        self._thread.join()

    @property
    def seen(self) -> Sequence[RouteLine]:
        return self._seen

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self._figures = read(self._proxy.ask(QUESTION))
            except (OSError, ValueError):
                # Prometheus is not there yet; routes are
                self._figures = {}
            try:
                routes = self._proxy.get(_ROUTES)["items"]
            except (OSError, ValueError):
                continue
            now = datetime.now(UTC)
            self._seen = tuple(line_of(one, self._figures, now) for one in routes)


class Screen(AbstractContextManager["Screen"]):
    """Tells lines; while entered and on a terminal, with the routes' table below them."""

    def __init__(self, console: Console, cluster: Cluster) -> None:
        self._console = console
        self._cluster = cluster
        self._stack = ExitStack()
        self._watching: Watching | None = None

    def __enter__(self) -> Self:
        """Begins to draw, where there is something to draw on."""
        if is_live(self._console):
            proxy = self._stack.enter_context(ApiProxy(self._cluster))
            self._watching = self._stack.enter_context(Watching(proxy))
            live = Live(
                console=self._console,
                get_renderable=self._drawn,
                refresh_per_second=_DRAWN_A_SECOND,
                transient=True,
            )
            self._stack.enter_context(live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it; the table goes, the lines stay."""
        self._stack.close()

    def tell(self, text: str) -> None:
        """Writes lines of the story. On a terminal tables are cut off at its width, and messages folded below where they begin."""
        if is_live(self._console) and "\n" in text:
            self._console.print(
                text,
                markup=False,
                emoji=False,
                highlight=False,
                no_wrap=True,
                overflow="ellipsis",
            )
        elif is_live(self._console) and text.startswith("  "):
            say(self._console, folded(text, self._console.width))
        else:
            say(self._console, text)

    def _drawn(self) -> Table:
        assert self._watching is not None
        return table(self._watching.seen, width=self._console.width)


def is_live(console: Console) -> bool:
    """Tells whether there is a terminal that can be drawn on."""
    return console.is_terminal and not console.is_dumb_terminal


def show_bill(console: Console, bill: bills.Bill) -> None:
    """Shows a bill: on a terminal as a table, elsewhere as lines."""
    if is_live(console):
        console.print(bills.table(bill))
    else:
        say(console, bills.plain(bill))


def folded(text: str, width: int) -> str:
    """Folds a line between words; what goes on stands below the last column, which three blanks set off."""
    column = text.rfind("   ") + 3 if "   " in text.strip() else 4
    return textwrap.fill(text, max(width, column + 20), subsequent_indent=" " * column)


def say(console: Console, text: str) -> None:
    """Writes text as it is, so that a machine can read it and a person paste it."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.file.flush()
