"""A relay with two workers, its ledger and database, and two providers with journals; each of them but the providers can be killed."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.blackbox.conftest import UPSTREAM_SECRETS
from tests.blackbox.ledgers import BookingLedger, kill, shippers, workers
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import TENANT_UID, Platform, Signer, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.ledger.postgresql_server import PostgresqlServer

from relay_contract.document import RetryOn
from relay_ledger.booking.price_book import Assignment
from relay_ledger.store.databases import open_database
from relay_ledger.store.price_book_store import PriceBookStore

Store = Literal["sqlite", "postgresql"]
PROVIDERS: Final = ("stable", "backup")
SETTLED_SECONDS: Final = 1800.0
"""A ledger that books more slowly than calls were made has a backlog; on a busy machine it is long."""
START_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 1.0
"""The longest time that a killed ledger or database is away."""
USUAL: Final[dict[str, Any]] = {
    "latency_ms": 3,
    "token_interval_ms": 1,
    "completion_tokens": 6,
    "error_percent": 1,
}
TROUBLES: Final[tuple[dict[str, Any], ...]] = (
    {"error_status": 503, "fault": "close_after", "fault_percent": 1},
    {"error_status": 429, "fault": "die", "fault_percent": 0.5},
    {"error_status": 500, "fault": "reset", "fault_percent": 0.5},
    {"error_status": 503, "fault": "no_answer", "fault_percent": 0.1},
)
"""What the stable provider does beside, one after the other: errors of which some lead to another provider, and ends of connections."""
_PRICES: Final = """
name: {name}
currency: USD
entries:
- models: ['gpt-4.1']
  prices: {{input: '{input}', output: '{output}'}}
"""


@dataclass
class Scene:
    """Everything that runs."""

    directory: Path
    ledger: BookingLedger
    relay: Relay
    providers: dict[str, Upstream]
    database: PostgresqlServer | None
    chance: random.Random

    @property
    def victims(self) -> dict[str, Callable[[], None]]:
        """What can be killed, and how it comes back."""
        found: dict[str, Callable[[], None]] = {
            "worker": self._kill_worker,
            "shipper": lambda: kill(shippers(self.relay)),
            "supervisor": self._kill_supervisor,
            "relay": self._start_relay,
            "ledger": self._kill_ledger,
        }
        return found if self.database is None else {**found, "database": self._kill_database}

    def journal(self, name: str) -> Iterator[str]:
        """Returns what a provider has noted."""
        with _journal(self.directory, name).open() as lines:
            yield from lines

    def trouble(self, number: int) -> None:
        """Gives the stable provider its next kind of trouble."""
        self.providers["stable"].behave(**USUAL, **TROUBLES[number % len(TROUBLES)])

    def settle(self) -> None:
        """Waits until everything is in the ledger, then ends the relay in order, which leaves no file in the outbox."""
        for upstream in self.providers.values():
            eventually(lambda one=upstream: one.stats()["in_flight"], lambda left: left == 0)  # type: ignore[misc]
        eventually(
            self._backlog,
            lambda left: left == 0,
            within_seconds=SETTLED_SECONDS,
            what="an empty outbox",
        )
        self.relay.process.send_signal(signal.SIGTERM)
        assert self.relay.process.wait(START_SECONDS) == 0
        left = [path for path in (self.directory / "outbox").rglob("*") if path.is_file()]
        assert left == [], left

    def _backlog(self) -> float:
        metrics = self.relay.metrics()
        if not metrics.total("relay_outbox_bytes"):
            # a shipper that was killed has not told anything yet
            return 1
        names = ("records_waiting", "unread_bytes", "attempts_under_way")
        return sum(metrics.total(f"relay_outbox_{name}") for name in names)

    def _kill_worker(self) -> None:
        kill([self.chance.choice(found)] if (found := workers(self.relay)) else [])

    def _kill_supervisor(self) -> None:
        kill([self.relay.process.pid])
        eventually(
            self.relay.process.members,
            lambda left: not left,
            within_seconds=START_SECONDS,
            what="the end of the workers",
        )
        self._start_relay()

    def _start_relay(self) -> None:
        self.relay.restart()
        eventually(self._is_ready, bool, within_seconds=START_SECONDS, what="the relay's readiness")

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.relay.ready().status == 200
        return False

    def _kill_ledger(self) -> None:
        self.ledger.process.kill()
        time.sleep(self.chance.uniform(0.0, AWAY_SECONDS))
        self.ledger.process.start()

    def _kill_database(self) -> None:
        assert self.database is not None
        self.database.kill()
        time.sleep(self.chance.uniform(0.0, AWAY_SECONDS))
        self.database.start()


@contextlib.contextmanager
def running(store: Store, directory: Path, *, chance: random.Random) -> Iterator[Scene]:
    """Starts everything on a store."""
    with contextlib.ExitStack() as ending:
        database = PostgresqlServer() if store == "postgresql" else None
        address = ""
        if database is not None:
            ending.callback(database.remove)
            database.start()
            address = database.create("crashes")
        ledger = BookingLedger(directory / "ledger", address)
        _give_prices(ledger.address)
        ending.callback(ledger.process.end)
        ledger.process.start()
        providers = {name: _provider(directory, name) for name in PROVIDERS}
        for upstream in providers.values():
            ending.callback(upstream.process.kill)
            upstream.wait_ready()
            upstream.behave(**USUAL)
        relay = _relay(directory, ledger, providers)
        ending.callback(lambda: relay.process.kill())
        relay.wait_ready()
        yield Scene(directory, ledger, relay, providers, database, chance)


def _provider(directory: Path, name: str) -> Upstream:
    journal = ("--journal", str(_journal(directory, name)))
    return Upstream(directory / f"{name}.log", "--recorded-requests", "0", *journal)


def _journal(directory: Path, name: str) -> Path:
    return directory / f"{name}.journal"


def _relay(directory: Path, ledger: BookingLedger, providers: dict[str, Upstream]) -> Relay:
    signer = Signer()
    relay = Relay(
        directory / "relay",
        signer,
        **ledger.settings(
            directory / "outbox",
            workers="2",
            outbox_mebibytes="64",
            first_byte_timeout_seconds="2",
        ),
    )
    for name in providers:
        relay.give_key(name, UPSTREAM_SECRETS[name])
    # a call that may have been paid is tried at the other provider as well: both attempts are in the books
    again = RetryOn(statuses=(500,), failures=("Disconnect",))
    platform = Platform(signer, {})
    relay.write_document(
        platform.document(
            providers=[provider(name, one.url, retry_on=again) for name, one in providers.items()],
            routes=[route("stable", fallback=(side("backup"),))],
        )
    )
    return relay


def _give_prices(address: str) -> None:
    engine = open_database(address)
    prices = PriceBookStore(engine)
    amounts = {"stable": ("2", "8"), "backup": ("3", "12"), "retail": ("4", "16")}
    for name, (read, written) in amounts.items():
        prices.load(_PRICES.format(name=name, input=read, output=written), now=1)
    for name in PROVIDERS:
        prices.assign(Assignment("cost", name, 0, name), now=1)
    prices.assign(Assignment("charge", TENANT_UID, 0, "retail"), now=1)
    engine.dispose()
