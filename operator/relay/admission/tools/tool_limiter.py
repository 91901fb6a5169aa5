"""Limits of what a tenant asks of tool servers: each server's own, and those of single tools beside it.

Requests alone count. The servers have nothing in common, and the tenant's own limits are for calls of models.
"""

from typing import Final

from relay.admission.limiter import MODEL, Buckets
from relay.admission.token_buckets import RateLimit
from relay_contract.document import TenantDocument
from relay_contract.tools.manifest import Grant
from relay_contract.tools.patterns import covers

MESSAGES_PER_REQUEST: Final = 10
"""Notifications, answers to servers, and streams, for each request that a tool server's limit grants: a call may bring several of them."""


class OverLimit:
    """Why a message is not to be sent to a server now: pattern is that of the tools' limit, empty for the server's own."""

    __slots__ = ("pattern", "retry_after_seconds")

    def __init__(self, pattern: str, retry_after_seconds: float) -> None:
        self.pattern = pattern
        self.retry_after_seconds = retry_after_seconds


class _Limit:
    __slots__ = ("bucket", "pattern")

    def __init__(self, pattern: str, bucket: RateLimit) -> None:
        self.pattern = pattern
        self.bucket = bucket


class ToolLimiter:
    """Limits tool calls by the rates of the tenant's grants; this process has a share of each rate, above 0 and at most 1."""

    __slots__ = ("_buckets", "_messages", "_servers", "_tools")

    def __init__(self, tenant: TenantDocument, *, share: float, now: float) -> None:
        self._buckets: Buckets | None = None
        self.reconfigure(tenant, share=share, now=now)

    def admit(self, server: str, tool: str, *, now: float) -> OverLimit | None:
        """Charges every limit of a request, or none and returns the one with the longest wait.

        tool is the server's own name of a tool that is called, empty of every other request. now is in monotonic seconds.
        """
        limits = self._tools.get((server, tool)) if tool else None
        return _charged(self._servers.get(server, ()) if limits is None else limits, now)

    def admit_message(self, server: str, *, now: float) -> OverLimit | None:
        """Charges a message of a session that is no call and no list, which has a rate of its own."""
        return _charged(self._messages.get(server, ()), now)

    def reconfigure(self, tenant: TenantDocument, *, share: float, now: float) -> None:
        """Applies a new document; what was spent stays so."""
        buckets = Buckets(
            self._buckets, share=share, burst_seconds=tenant.limits.burst_seconds, now=now
        )
        self._servers: dict[str, tuple[_Limit, ...]] = {}
        self._messages: dict[str, tuple[_Limit, ...]] = {}
        self._tools: dict[tuple[str, str], tuple[_Limit, ...]] = {}
        for grant in () if tenant.tools is None else tenant.tools.grants:
            self._limit_grant(grant, buckets)
        self._buckets = buckets

    def _limit_grant(self, grant: Grant, buckets: Buckets) -> None:
        name, rate = grant.server, grant.requests_per_minute
        server = self._servers[name] = _limits(buckets, "", name, rate)
        messages = None if rate is None else MESSAGES_PER_REQUEST * rate
        # no name of a server has a blank or a slash: these are no other's
        self._messages[name] = _limits(buckets, "", f"{name} messages", messages)
        limits: list[_Limit] = []
        for one in grant.tool_limits:
            limits += _limits(buckets, one.name, f"{name}/{one.name}", one.requests_per_minute)
        for definition in grant.tool_definitions if limits else ():
            own = tuple(one for one in limits if covers(one.pattern, definition.name))
            if own:
                self._tools[(name, definition.name)] = server + own


def _limits(
    buckets: Buckets, pattern: str, name: str, per_minute: int | None
) -> tuple[_Limit, ...]:
    made = buckets.bucket_set(MODEL, name, requests=per_minute, tokens=None)
    return tuple(_Limit(pattern, bucket) for bucket in made.requests)


def _charged(limits: tuple[_Limit, ...], now: float) -> OverLimit | None:
    longest, slowest = 0.0, ""
    for limit in limits:
        wait = limit.bucket.wait_seconds(1, now)
        if wait > longest:
            longest, slowest = wait, limit.pattern
    if longest:
        return OverLimit(slowest, longest)
    for limit in limits:
        limit.bucket.charge(1, now)
    return None
