"""The client connections of one worker: how many there are, what they hold in memory, and who handles their requests."""

import random

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metrics import WorkerMetrics
from relay.calls.path_table import PathTable
from relay.dialect.header_fields import PER_CALL, STEERING
from relay.http.deadlines import DeadlineWheel
from relay.http.downstream import ClientConnection, ClientLimits, ConnectionHost
from relay.http.head_cache import HeadMemory
from relay.http.headers import SINGLE
from relay.http.message import Request
from relay.http.outbox import Outbox
from relay.http.request_handler import RequestHandler
from relay.settings import Settings


class ClientConnections(ConnectionHost):
    """The host of a worker's client connections. With secure_only it takes none without TLS."""

    def __init__(
        self,
        settings: Settings,
        paths: PathTable,
        metrics: WorkerMetrics,
        wheel: DeadlineWheel,
        outbox: Outbox,
        exceptions: ExceptionLog,
    ) -> None:
        self.client_limits = _client_limits(settings)
        self.head_memory = HeadMemory(settings.max_cached_head_bytes, PER_CALL)
        self.wheel = wheel
        self.outbox = outbox
        self.draining = False
        self.secure_only = False
        self.open: set[ClientConnection] = set()
        self.buffered_bytes = 0
        self.paths = paths
        self._exceptions = exceptions
        self._metrics = metrics
        self._max_connections: int = settings.max_connections
        self._max_buffered_bytes: int = settings.max_buffered_bytes
        self._age_seconds: float = settings.connection_age_seconds

    def admit_connection(self, connection: ClientConnection) -> bool:
        if self.secure_only and not connection.is_secure:
            # accepted a moment before the tenant asked for TLS
            return False
        if len(self.open) >= self._max_connections:
            self._metrics.rejections[("connections",)] += 1
            return False
        self.open.add(connection)
        return True

    def forget_connection(self, connection: ClientConnection) -> None:
        self.open.discard(connection)

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        return self.paths.handler(connection, request)

    def reserve_body(self, size: int, whole: int) -> bool:
        # a body may be as large as what it leaves free for others: large ones are refused first, small ones still fit
        if whole > self._max_buffered_bytes - self.buffered_bytes - size:
            return False
        self.buffered_bytes += size
        return True

    def release_body(self, size: int) -> None:
        self.buffered_bytes -= size

    def note_exception(self, error: BaseException) -> None:
        self._exceptions.note(error)

    def connection_age(self) -> float:
        return self._age_seconds * random.uniform(0.75, 1.0)

    def drain(self) -> None:
        """Makes every answer from now on the last of its connection."""
        self.draining = True

    def retire_plain(self) -> None:
        """Closes the connections without TLS, each after the answer that is under way."""
        for connection in list(self.open):
            if not connection.is_secure:
                connection.retire()

    def abort_all(self) -> None:
        """Aborts every connection: the time to drain is over."""
        for connection in list(self.open):
            connection.abort()


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        header_timeout=settings.header_timeout_seconds,
        body_timeout=settings.body_timeout_seconds,
        idle_timeout=settings.idle_timeout_seconds,
        slow_reader=settings.slow_reader_seconds,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_body_bytes=settings.max_body_bytes,
        single_fields=SINGLE | STEERING,
    )
