"""One logical call, as every attempt at it needs it: what was asked, by whom, and under which ids."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from relay.body import CallBody, upstream_body
from relay.endpoints import Endpoint
from relay.http.headers import Field, nominated
from relay.routing import Leg
from relay.snapshot import RoutePlan, Upstream


@dataclass(slots=True)
class Order:
    """Shared by the attempts of one call and its shadow. model_label is bounded, for metrics; input_tokens an estimate."""

    endpoint: Endpoint
    key_name: str
    plan: RoutePlan
    body: CallBody
    model_label: str
    headers: list[Field]
    connection_field: bytes | None
    query: bytes
    request_id: str
    trace_id: str
    trace_flags: str
    input_tokens: int
    output_tokens: int

    @property
    def forces_usage(self) -> bool:
        """Whether usage is asked for on the caller's behalf, and its extra chunk hidden from the caller."""
        body = self.body
        return body.stream and not body.wants_usage and self.endpoint.takes_stream_options

    def pieces(self, leg: Leg, *, auth: bytes, span_id: str) -> list[bytes]:
        """The request for this leg; auth is a whole header line or empty."""
        upstream = leg.destination.upstream
        body = upstream_body(self.body, model=leg.model, force_usage=self.forces_usage)
        size = len(body[0]) if len(body) == 1 else sum(map(len, body))
        ids = (
            f"x-request-id: {self.request_id}\r\n"
            f"traceparent: 00-{self.trace_id}-{span_id}-{self.trace_flags}\r\n"
            f"content-length: {size}\r\n\r\n"
        )
        return [self._head(upstream), *self._forwarded(upstream), auth, ids.encode(), *body]

    def _head(self, upstream: Upstream) -> bytes:
        head = upstream.heads[self.endpoint]
        if not self.query:
            return head
        # the provider's own parameters win: a caller must not reach another API version or account
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        kept = urlencode([pair for pair in pairs if pair[0] not in upstream.query_names])
        if not kept:
            return head
        line, separator, fields = head.partition(b" HTTP/1.1\r\n")
        return line + (b"&" if b"?" in line else b"?") + kept.encode() + separator + fields

    def _forwarded(self, upstream: Upstream) -> list[bytes]:
        dropped = upstream.dropped
        if self.connection_field is not None:
            dropped |= nominated(self.connection_field)
        return [b"%b: %b\r\n" % field for field in self.headers if field[0] not in dropped]
