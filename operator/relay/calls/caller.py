"""Who calls: the API key decides, and the headers a caller may add can only narrow what it gets."""

import hashlib
import hmac
from typing import Final

from relay.dialect.refusals import Refusal
from relay.http.headers import identifier
from relay.http.message import Request
from relay.random_ids import random_id
from relay.routing.snapshot import KeyGrant, Snapshot
from relay_contract.document import Priority

_BEARER: Final = b"bearer "
_RANKED: Final[tuple[Priority, ...]] = ("low", "normal", "high")
_RANK: Final = {name: rank for rank, name in enumerate(_RANKED)}
_ASKED: Final = {name.encode(): rank for name, rank in _RANK.items()}


class Caller:
    """An authenticated caller and the snapshot its request began with. task is X-Task-Type.

    heads remembers, per provider, what its request's head becomes there: it is used again when the head is.
    """

    __slots__ = ("heads", "key", "priority", "snapshot", "task")

    def __init__(
        self, snapshot: Snapshot, key: KeyGrant, priority: Priority, task: str | None
    ) -> None:
        self.heads: dict[str, bytes] = {}
        self.snapshot = snapshot
        self.key = key
        self.priority = priority
        self.task = task


def request_id(request: Request) -> str:
    """The caller's own id where it is fit to be logged, else a new one."""
    return identifier(request.fields.get(b"x-request-id")) or "req_" + random_id(32)


def identify(request: Request, snapshot: Snapshot | None) -> Caller | Refusal:
    """The caller, or why it may not call."""
    if snapshot is None:
        return Refusal.not_ready
    fields = request.fields
    authorization = fields.get(b"authorization")
    if authorization is None or authorization[:7].lower() != _BEARER:
        return Refusal.missing_api_key
    # looked up by digest: the time a look-up takes tells nothing about the keys themselves
    key = snapshot.keys.get(hashlib.sha256(authorization[7:].strip()).digest())
    if key is None:
        return Refusal.invalid_api_key
    tenant = fields.get(b"x-tenant-id")
    if tenant is not None and not hmac.compare_digest(tenant, snapshot.tenant):
        return Refusal.tenant_mismatch
    if snapshot.suspended:
        return Refusal.tenant_suspended
    task = fields.get(b"x-task-type")
    return Caller(
        snapshot,
        key,
        _priority(fields.get(b"x-request-priority"), key.priority),
        task.decode("latin-1") if task else None,
    )


def _priority(asked: bytes | None, granted: Priority) -> Priority:
    """At most what the key was granted; without the header exactly that. An unknown word means normal."""
    if asked is None:
        return granted
    return _RANKED[min(_ASKED.get(asked.lower(), _RANK["normal"]), _RANK[granted])]
