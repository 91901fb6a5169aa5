"""Identifies callers: the API key decides, and the headers that a caller may add can only narrow what it gets."""

import hashlib
import hmac
from typing import Final, Literal

from relay.calls.tenants.tenant_map import KeyHolder, TenantMap
from relay.dialect.header_fields import names_other_charset
from relay.dialect.refusals import Refusal
from relay.http.headers import identifier
from relay.http.message import Request
from relay.random_ids import random_id
from relay_contract.document import Priority

MAX_TASK_BYTES: Final = 253
"""No route has a longer one (relay_contract.document.Name); routing remembers thousands of tasks, which are the callers' words."""
_BEARER: Final = b"bearer "
_RANKED: Final[tuple[Priority, ...]] = ("low", "normal", "high")
_RANK: Final = {name: rank for rank, name in enumerate(_RANKED)}
_ASKED: Final = {name.encode(): rank for name, rank in _RANK.items()}
MAX_QUERY_FIELDS: Final = 100
"""Parameters of a query, each of which costs microseconds for each provider; calls of this API have two at most."""

IdentifiedBy = Literal["api_key"]


class Caller:
    """An authenticated caller: tenant, key, user if one is named, and how it was identified.

    snapshot is the one its request began with, task is X-Task-Type. heads keeps, per provider, what its request's head
    becomes there: it is used again when the head is.
    """

    __slots__ = ("heads", "how", "key", "priority", "snapshot", "task", "tenant", "use", "user")

    def __init__(
        self,
        holder: KeyHolder,
        *,
        priority: Priority,
        task: str | None,
        user: str | None,
        how: IdentifiedBy,
    ) -> None:
        self.heads: dict[str, bytes] = {}
        self.tenant = holder.tenant
        self.snapshot = holder.snapshot
        self.key = holder.key
        self.use = holder.use
        self.user = user
        self.priority = priority
        self.how: IdentifiedBy = how
        self.task = task

    @property
    def up_to_date(self) -> bool:
        """True while the snapshot that the caller was identified under is in force."""
        return self.snapshot is self.tenant.snapshot


def request_id(request: Request) -> str:
    """Returns the caller's own id where it is fit to be logged, else a new one."""
    return identifier(request.fields.get(b"x-request-id")) or "req_" + random_id(32)


def identify(request: Request, tenants: TenantMap) -> Caller | Refusal:
    """Finds the caller of a request, or the reason why it may not call."""
    if tenants.empty:
        return Refusal.not_ready
    fields = request.fields
    authorization = fields.get(b"authorization")
    if authorization is None or authorization[:7].lower() != _BEARER:
        return Refusal.missing_api_key
    # looked up by digest: the time a look-up takes tells nothing about the keys themselves
    holder = tenants.holder(hashlib.sha256(authorization[7:].strip()).digest())
    if holder is None:
        return Refusal.invalid_api_key
    snapshot = holder.snapshot
    tenant = fields.get(b"x-tenant-id")
    if tenant is not None and not hmac.compare_digest(tenant, snapshot.tenant):
        return Refusal.tenant_mismatch
    if snapshot.suspended:
        return Refusal.tenant_suspended
    # a request that goes on for long is identified more than once
    holder.use.at = max(holder.use.at, request.received_at)
    task = fields.get(b"x-task-type")
    return Caller(
        holder,
        priority=_priority(fields.get(b"x-request-priority"), holder.key.priority),
        task=task.decode("latin-1") if task and len(task) <= MAX_TASK_BYTES else None,
        user=None,
        how="api_key",
    )


def check_size(request: Request, max_body_bytes: int) -> Refusal | None:
    """Finds what forbids to read the request's body."""
    fields = request.fields
    if request.query and request.query.count(b"&") >= MAX_QUERY_FIELDS:
        return Refusal.uri_too_long
    if b"content-encoding" in fields and fields[b"content-encoding"].lower() != b"identity":
        return Refusal.unsupported_encoding
    if names_other_charset(fields.get(b"content-type", b"")):
        return Refusal.unsupported_charset
    if int(fields.get(b"content-length", b"0")) > max_body_bytes:
        return Refusal.payload_too_large
    if b"expect" in fields and not request.expects_continue and request.http11:
        return Refusal.expectation_failed
    return None


def _priority(asked: bytes | None, granted: Priority) -> Priority:
    """Returns at most what the key was granted; without the header exactly that. An unknown word means normal."""
    if asked is None:
        return granted
    return _RANKED[min(_ASKED.get(asked.lower(), _RANK["normal"]), _RANK[granted])]
