"""Counts what goes to the API server, by hooks in the HTTP client of both who talk to it: our adapter, and kopf."""

import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final
from urllib.request import getproxies_environment

import aiohttp
from yarl import URL

from relay_operator.cluster.metrics.catalogue import API_CALL_DURATION, API_CALLS
from relay_operator.cluster.metrics.watch_ages import WatchAges
from relay_operator.errors import NotLeading

_GAP_SECONDS: Final = 30.0
"""Without an answer for this long the API server counts as away. A leader asks for its Lease more often than that."""
_ROOTS: Final = {"api": 2, "apis": 3}
"""Counts the parts of a path before its plural: /api/v1, /apis/GROUP/VERSION."""
_VERBS: Final = {"POST": "create", "PUT": "update", "DELETE": "delete"}


class ApiTraffic:
    """Notes when one process last heard from the API server. clock never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers_since = self._answered_at = float("-inf")
        self.watch_ages = WatchAges()

    def session(
        self, *, tls: ssl.SSLContext, headers: Mapping[str, str], proxy: str | None, trust_env: bool
    ) -> aiohttp.ClientSession:
        """Returns a session of the HTTP client for somebody else who talks to the API server, and closes it."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            headers=headers,
            proxy=proxy,
            trust_env=trust_env and names_a_proxy(),
            trace_configs=[self.hooks()],
        )

    def hooks(self) -> aiohttp.TraceConfig:
        """Returns the hooks for a session of the HTTP client; each session takes its own."""
        hooks = aiohttp.TraceConfig()
        hooks.on_request_start.append(self._started)
        hooks.on_request_end.append(self._answered)
        hooks.on_request_exception.append(self._failed)
        return hooks

    def now(self) -> float:
        return self._clock()

    def answering_seconds(self) -> float:
        """Returns for how long the API server has been answering; 0 while it is away."""
        now = self._clock()
        return now - self._answers_since if now - self._answered_at <= _GAP_SECONDS else 0.0

    async def _started(
        self, _: aiohttp.ClientSession, call: SimpleNamespace, __: aiohttp.TraceRequestStartParams
    ) -> None:
        call.started = self._clock()

    async def _answered(
        self,
        _: aiohttp.ClientSession,
        call: SimpleNamespace,
        told: aiohttp.TraceRequestEndParams,
    ) -> None:
        now, verb = self._clock(), verb_of(told.method, told.url, told.headers)
        status = told.response.status
        API_CALLS.labels(verb, str(status)).inc()
        API_CALL_DURATION.labels(verb).observe(now - call.started)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
            self._note_answer(now)
        if verb == "watch" and status == HTTPStatus.OK:
            self.watch_ages.opened(watch_of(told.url), told.response.content, now=now)

    async def _failed(
        self,
        _: aiohttp.ClientSession,
        call: SimpleNamespace,
        told: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        if isinstance(told.exception, NotLeading):
            # it has not left
            return
        verb = verb_of(told.method, told.url, told.headers)
        API_CALLS.labels(verb, "none").inc()
        API_CALL_DURATION.labels(verb).observe(self._clock() - call.started)

    def _note_answer(self, now: float) -> None:
        if now - self._answered_at > _GAP_SECONDS:
            self._answers_since = now
        self._answered_at = now


def names_a_proxy() -> bool:
    """Tells whether the environment names a proxy. Where it does not, trusting it would only have the HTTP client look for a
    .netrc file before every request, in another thread.
    """
    return bool(getproxies_environment())


def verb_of(method: str, url: URL, headers: Any) -> str:
    """Returns the verb as Kubernetes names it (docs: API concepts), with apply apart from patch."""
    if method == "PATCH":
        is_apply = str(headers.get("Content-Type", "")).startswith("application/apply-patch")
        return "apply" if is_apply else "patch"
    if method != "GET":
        return _VERBS.get(method, "other")
    if url.query.get("watch") == "true":
        return "watch"
    return "list" if len(_resource(url)) == 1 else "get"


def watch_of(url: URL) -> str:
    """Returns the plural that a watch is of, with the name if it is of objects of one name alone."""
    plural, selector = url.path.rpartition("/")[2], url.query.get("fieldSelector", "")
    return f"{plural}/{selector.partition('=')[2]}" if selector else plural


def _resource(url: URL) -> list[str]:
    """Returns the parts of a path from the plural on; none for what is no path of resources."""
    parts = url.path.strip("/").split("/")
    root = next((at for at, part in enumerate(parts) if part in _ROOTS), None)
    if root is None:
        return []
    rest = parts[root + _ROOTS[parts[root]] :]
    is_of_a_namespace = rest[:1] == ["namespaces"] and len(rest) > 2
    return rest[2:] if is_of_a_namespace else rest
