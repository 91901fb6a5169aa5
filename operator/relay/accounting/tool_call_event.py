"""The record of a request for something of a tool server: who called what, under which rule, and how it ended."""

import orjson

from relay_contract.billing.tool_call import ToolOutcome, tool_call_id


class ToolCallEvent:
    """A request that has ended. The requests of a call in several rounds have one call_id, and all but its last end as input_required.

    round_id is the request's own id, called_at when it came, microseconds since 1970. method is the protocol's; server, name and rule (the pattern that grants it) are empty of what is denied, but for the name
    that was asked for if a tool could have it. own_name is the server's name, where a grant's prefix makes another of it. A URI is an argument: of resources the rule alone is told. limit is the pattern of
    the tools' limit that refused it, empty of the server's own, or what of the tenant's money did. revision is that of the manifest. Sizes are in bytes.
    """

    __slots__ = (
        "answer_bytes",
        "call_id",
        "called_at",
        "key",
        "limit",
        "method",
        "name",
        "outcome",
        "own_name",
        "request_bytes",
        "request_id",
        "revision",
        "round_id",
        "rule",
        "seconds",
        "server",
    )

    def __init__(
        self,
        *,
        method: str,
        name: str,
        key: str,
        revision: str,
        round_id: str,
        called_at: int,
        request_id: str,
        request_bytes: int,
    ) -> None:
        self.method = method
        self.name = name
        self.key = key
        self.revision = revision
        self.round_id = round_id
        self.call_id = round_id
        self.called_at = called_at
        self.request_id = request_id
        self.request_bytes = request_bytes
        self.answer_bytes = 0
        self.server = ""
        self.own_name = ""
        self.rule = ""
        self.limit = ""
        self.outcome: ToolOutcome = "refused"
        self.seconds = 0.0

    def id(self, tenant_uid: str) -> str:
        """Returns the id of its record, in the log as in the ledger."""
        return tool_call_id(tenant_uid=tenant_uid, round_id=self.round_id, called_at=self.called_at)


def tool_call_line(
    event: ToolCallEvent, *, tenant: str, tenant_uid: str, timestamp: float, pod: str
) -> bytes:
    """Renders the event as one JSON line; timestamp in seconds since the epoch."""
    line = {
        "ts": timestamp,
        "event": "tool_call",
        "event_id": event.id(tenant_uid),
        "call_id": event.call_id,
        "pod": pod,
        "tenant": tenant,
        "tenant_uid": tenant_uid,
        "key": event.key,
        "method": event.method,
        "server": event.server or None,
        "name": event.name or None,
        "manifest_revision": event.revision,
        "rule": event.rule or None,
        "limit": event.limit or None,
        "outcome": event.outcome,
        "duration_seconds": round(event.seconds, 6),
        "request_bytes": event.request_bytes,
        "answer_bytes": event.answer_bytes,
        "request_id": event.request_id,
    }
    return orjson.dumps(line) + b"\n"
