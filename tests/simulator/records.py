"""Records of the provider: counts for GET /stats, the last requests for GET /requests."""

import base64
import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, TextIO

import orjson
from tests.simulator.api.call import Usage

SECRET_HEADERS = frozenset({b"authorization", b"proxy-authorization", b"api-key", b"x-api-key"})
MAX_KEPT_BODY_BYTES = 1024 * 1024
"""Longer bodies are kept as length and digest only."""


@dataclass(slots=True)
class Record:
    """A request and its outcome: open, answered, faulted or aborted (by the client).

    answer_id is what the answer carries as x-request-id, usage what the whole answer is billed.
    """

    number: int
    at: float
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    connection: int
    endpoint: str = ""
    model: str = ""
    status: int = 0
    answer_id: str = ""
    usage: Usage | None = None
    outcome: str = "open"
    events_sent: int = 0
    bytes_sent: int = 0
    ended_at: float = 0.0

    def entry(self) -> dict[str, Any]:
        """Returns what the journal says of a call that has ended; requestId is the caller's label."""
        labels = dict(self.headers)
        usage = self.usage
        return {
            "answerId": self.answer_id,
            "requestId": labels.get(b"x-request-id", b"").decode("latin-1"),
            "model": self.model,
            "status": self.status,
            "outcome": self.outcome,
            "eventsSent": self.events_sent,
            "promptTokens": usage.prompt if usage else 0,
            "completionTokens": usage.completion if usage else 0,
            "at": self.at,
        }

    def as_json(self) -> dict[str, Any]:
        """Returns the record for GET /requests, with credentials as SHA-256."""
        body = self.body if len(self.body) <= MAX_KEPT_BODY_BYTES else b""
        return {
            "number": self.number,
            "at": self.at,
            "ended_at": self.ended_at,
            "connection": self.connection,
            "method": self.method,
            "target": self.target,
            "headers": [shown_header(name, value) for name, value in self.headers],
            "body_base64": base64.b64encode(body).decode(),
            "body_bytes": len(self.body),
            "body_sha256": hashlib.sha256(self.body).hexdigest(),
            "endpoint": self.endpoint,
            "model": self.model,
            "status": self.status,
            "outcome": self.outcome,
            "events_sent": self.events_sent,
            "bytes_sent": self.bytes_sent,
        }


@dataclass(slots=True)
class Records:
    """Counts since the last reset. Times are Unix seconds; 0 means not yet.

    journal gets a line of each call that has ended, whatever is reset.
    """

    kept: int
    journal: TextIO | None = None
    last: deque[Record] = field(init=False)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    aborted_streams: int = 0
    bad_requests: int = 0
    bytes_sent: int = 0
    in_flight: int = 0
    connections_open: int = 0
    connections_total: int = 0
    last_request_at: float = 0.0
    last_served_at: float = 0.0
    _number: int = 0

    def __post_init__(self) -> None:
        self.last = deque(maxlen=self.kept)

    def opened(
        self,
        *,
        at: float,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        connection: int,
    ) -> Record:
        """Records a complete request."""
        self._number += 1
        self.in_flight += 1
        self.last_request_at = at
        record = Record(self._number, at, method, target, headers, body, connection)
        if self.kept:
            self.last.append(record)
        return record

    def closed(self, record: Record, *, at: float, outcome: str, streamed: bool) -> None:
        """Records the end of a request."""
        record.outcome = outcome
        record.ended_at = at
        self.in_flight -= 1
        self.outcomes[outcome] += 1
        if self.journal is not None and record.endpoint:
            self.journal.write(orjson.dumps(record.entry()).decode() + "\n")
        if outcome == "answered":
            self.last_served_at = at
        if outcome == "aborted" and streamed:
            self.aborted_streams += 1

    def reset(self) -> None:
        """Forgets everything except open requests."""
        self.last.clear()
        self.requests.clear()
        self.statuses.clear()
        self.outcomes.clear()
        self.aborted_streams = self.bad_requests = self.bytes_sent = 0
        self.connections_total = self.connections_open
        self.last_request_at = self.last_served_at = 0.0

    def as_json(self) -> dict[str, Any]:
        """Returns the counts for GET /stats."""
        by_endpoint: Counter[str] = Counter()
        by_model: Counter[str] = Counter()
        for (endpoint, model), count in self.requests.items():
            by_endpoint[endpoint] += count
            by_model[model] += count
        return {
            "requests": sum(self.requests.values()),
            "by_endpoint": dict(by_endpoint),
            "by_model": dict(by_model),
            "by_status": {str(status): count for status, count in self.statuses.items()},
            "outcomes": dict(self.outcomes),
            "aborted_streams": self.aborted_streams,
            "bad_requests": self.bad_requests,
            "bytes_sent": self.bytes_sent,
            "in_flight": self.in_flight,
            "connections_open": self.connections_open,
            "connections_total": self.connections_total,
            "last_request_at": self.last_request_at,
            "last_served_at": self.last_served_at,
        }


def shown_header(name: bytes, value: bytes) -> list[str]:
    """Returns a header that may be shown: a credential becomes sha256:<hex> of its value."""
    if name.lower() in SECRET_HEADERS:
        return [name.decode("latin-1"), "sha256:" + hashlib.sha256(value).hexdigest()]
    return [name.decode("latin-1"), value.decode("latin-1")]
