"""Asks a provider for its list of models, on the way that calls take: its pool, proxy, certificate and key."""

import time
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlencode, urlsplit

import orjson

from relay.accounting.exception_log import ExceptionLog
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.preflight.findings import one_line, without_secret
from relay.dialect.endpoints import Endpoint
from relay.http.headers import Field
from relay.http.upstream import Fault, ResponseReceiver, UpstreamConnection
from relay.routing.snapshot import Upstream
from relay_contract.provider_probe import (
    MAX_NOT_LISTED,
    MAX_PROBE_MESSAGE,
    PROBE_SECONDS,
    ProbeOutcome,
    ProviderProbe,
)

MAX_LIST_BYTES: Final = 4 * 1024 * 1024
MAX_LIST_IDS: Final = 40_000
"""Bounds how many models of a list are read: that many hold up the worker's calls for tens of milliseconds."""
_UNAUTHORIZED: Final = 401
_THROTTLED: Final = 429


class CatalogueProbe(ResponseReceiver):
    """One call. done is called once, with what came of it."""

    __slots__ = (
        "_auth",
        "_body",
        "_connection",
        "_done",
        "_exceptions",
        "_is_over",
        "_providers",
        "_status",
        "_upstream",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        exceptions: ExceptionLog,
        upstream: Upstream,
        done: Callable[[ProviderProbe], None],
    ) -> None:
        self._providers = providers
        self._exceptions = exceptions
        self._upstream = upstream
        self._done = done
        self._auth = b""
        self._status = 0
        self._body = bytearray()
        self._connection: UpstreamConnection | None = None
        self._is_over = False

    def start(self) -> None:
        """Sends the call as soon as there is a connection."""
        auth = self._providers.auth_line(self._upstream)
        if auth is None:
            self._end("KeyMissing", "its key, certificate or proxy credentials are not in the pod")
            return
        self._auth = auth
        self._providers.pool(self._upstream.origin).acquire(self, time.monotonic())

    def give_up(self) -> None:
        """Ends a call that takes too long."""
        if not self._is_over:
            self._abandon()
            self._end("Unreachable", f"it did not answer within {PROBE_SECONDS:g} s")

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        if self._is_over:
            connection.close()
            return
        self._connection = connection
        connection.send(
            self,
            [_request(self._upstream, self._auth)],
            now,
            first_byte=PROBE_SECONDS,
            idle=PROBE_SECONDS,
        )

    def response(self, status: int, headers: list[Field], now: float) -> None:
        self._status = status

    def body_received(self, data: bytes, now: float) -> None:
        if self._is_over:
            return
        self._body += data
        if len(self._body) > MAX_LIST_BYTES:
            self._abandon()
            self._end("Unlisted", f"its list of models has more than {MAX_LIST_BYTES} bytes")

    def read_ended(self, now: float, *, completed: bool) -> None:
        if completed and not self._is_over:
            self._connection = None
            self._tell()

    def failed(self, fault: Fault) -> None:
        if self._is_over:
            return
        self._connection = None
        words = (
            self._providers.pool(self._upstream.origin).last_error
            or f"the connection ended ({fault})"
        )
        self._end("Unreachable", f"it cannot be reached: {words}")

    def crashed(self, error: Exception) -> None:
        self._exceptions.note(error)
        if not self._is_over:
            self._abandon()
            self._end("Unlisted", "its answer could not be read")

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _tell(self) -> None:
        status = self._status
        if status == _UNAUTHORIZED:
            self._end("Unauthorized", f"it refuses the key ({status})")
        elif status == _THROTTLED:
            self._end("Throttled", f"it answers {status}")
        elif status >= 500:
            self._end("ServerError", f"it answers {status}")
        elif status == 200 and self._body.count(b'"id"') > MAX_LIST_IDS:
            self._end("Unlisted", f"its list of models has more than {MAX_LIST_IDS} ids")
        else:
            self._tell_list(_listed(bytes(self._body)) if status == 200 else None)

    def _tell_list(self, listed: set[str] | None) -> None:
        if listed is None:
            self._end("Unlisted", f"it answers {self._status} and shows no list of its models")
            return
        lacking = not_listed([*self._upstream.models.values()], listed)
        self._end("Answered", f"it lists {len(listed)} models", tuple(lacking[:MAX_NOT_LISTED]))

    def _end(self, outcome: ProbeOutcome, message: str, not_listed: tuple[str, ...] = ()) -> None:
        self._is_over = True
        words = one_line(without_secret(message, self._auth.strip()))
        self._done(
            ProviderProbe(
                provider=self._upstream.name,
                outcome=outcome,
                message=words[:MAX_PROBE_MESSAGE],
                not_listed=not_listed,
            )
        )


def _request(upstream: Upstream, auth: bytes) -> bytes:
    """Renders the call: the fixed fields of the provider's calls, and its key."""
    provider = upstream.provider
    path = urlsplit(provider.url).path.rstrip("/").encode() + b"/models"
    query = b"?" + urlencode(provider.query).encode() if provider.query else b""
    _, _, fields = upstream.heads[Endpoint.CHAT].partition(b"\r\n")
    return b"GET " + path + query + b" HTTP/1.1\r\n" + fields + auth + b"\r\n"


def _listed(body: bytes) -> set[str] | None:
    """Reads the ids of a list of models; None where it is none."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return None
    return {one["id"] for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)}


def not_listed(names: list[str], listed: Collection[str]) -> list[str]:
    """Returns the models that are not in the list, also not with what their maker is called before them.

    The list is gone through once for each number of parts that a name has, not once for each name.
    """
    lacking = [name for name in names if name not in listed]
    bare = {parts: _last_parts(listed, parts) for parts in {_parts(name) for name in lacking}}
    return [name for name in lacking if name not in bare[_parts(name)]]


def _parts(name: str) -> int:
    return name.count("/") + 1


def _last_parts(listed: Collection[str], parts: int) -> set[str]:
    """Returns the last parts of each id that has more of them."""
    found = set()
    for one in listed:
        split = one.rsplit("/", parts)
        if len(split) > parts:
            found.add("/".join(split[1:]))
    return found
