"""One logical call, as every attempt at it needs it: the request, its caller and its ids."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from relay.accounting.token_estimates import CallEstimate
from relay.admission.ask import Ask
from relay.calls.tenants.caller import Caller
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.dialect.attachments import text_and_attachments
from relay.dialect.endpoints import Endpoint
from relay.dialect.header_fields import JSON_TYPE, names_form
from relay.dialect.request_body import COPIED_BYTES, CallBody, body_without, upstream_body
from relay.http.headers import Field, nominated, trace_context
from relay.http.message import Request
from relay.random_ids import random_id
from relay.routing.routes import Target
from relay.routing.snapshot import RoutePlan, Upstream
from relay.tools.chat.chat_policy import ChatPolicy

_COMPLETIONS: Final = Endpoint.COMPLETIONS
OTHER_MODEL: Final = "other"
"""Stands in metrics for models that the document does not name."""


class Call:
    """Shared by the attempts of one call and its shadow. model_label is from a bounded set.

    call_id is the relay's own and never repeats; request_id may be the caller's, who may use it again.
    heads keeps what the head becomes at each provider, up to the fields that differ per attempt; calls of one head share
    it. thinned keeps the body without what a provider refuses, by the paths of that. chat_policy says which tools the answer
    may call, None for any, and what the model is told of the tenant. manifest_revision is that of the tenant's tool manifest, empty
    without one.
    """

    __slots__ = (
        "body",
        "call_id",
        "chat_policy",
        "connection_field",
        "endpoint",
        "estimate",
        "headers",
        "heads",
        "key_name",
        "manifest_revision",
        "model_label",
        "plan",
        "query",
        "request_id",
        "tenant",
        "thinned",
        "trace_flags",
        "trace_id",
    )

    def __init__(
        self,
        *,
        tenant: TenantRuntime,
        endpoint: Endpoint,
        key_name: str,
        plan: RoutePlan,
        body: CallBody,
        model_label: str,
        headers: list[Field],
        heads: dict[str, bytes],
        connection_field: bytes | None,
        query: bytes,
        call_id: str,
        request_id: str,
        trace_id: str,
        trace_flags: str,
        estimate: CallEstimate,
        chat_policy: ChatPolicy | None = None,
        manifest_revision: str = "",
    ) -> None:
        self.tenant = tenant
        self.endpoint = endpoint
        self.key_name = key_name
        self.plan = plan
        self.body = body
        self.model_label = model_label
        self.headers = headers
        self.heads = heads
        self.connection_field = connection_field
        self.query = query
        self.call_id = call_id
        self.request_id = request_id
        self.trace_id = trace_id
        self.trace_flags = trace_flags
        self.estimate = estimate
        self.chat_policy = chat_policy
        self.manifest_revision = manifest_revision
        self.thinned: dict[tuple[bytes, ...], CallBody] = {}

    def without_header(self, name: bytes) -> "Call":
        """Returns the same call without this field."""
        return Call(
            tenant=self.tenant,
            endpoint=self.endpoint,
            key_name=self.key_name,
            plan=self.plan,
            body=self.body,
            model_label=self.model_label,
            headers=[field for field in self.headers if field[0] != name],
            heads={},
            connection_field=self.connection_field,
            query=self.query,
            call_id=self.call_id,
            request_id=self.request_id,
            trace_id=self.trace_id,
            trace_flags=self.trace_flags,
            estimate=self.estimate,
            chat_policy=self.chat_policy,
            manifest_revision=self.manifest_revision,
        )

    def ask(self, caller: Caller, first: Target) -> Ask:
        """Returns the values that admission decides by; first is the call's first target."""
        estimate = self.estimate
        return Ask(
            key=self.key_name,
            key_weight=caller.key.weight,
            priority=caller.priority,
            model=self.body.model,
            provider=first.provider,
            input_tokens=estimate.input_tokens,
            output_tokens=estimate.output_tokens,
            least_tokens=estimate.least_tokens,
        )

    @property
    def asks_many_choices(self) -> bool:
        """True if the answer may hold several choices that end one by one."""
        return self.endpoint is _COMPLETIONS or self.body.asks_many_choices

    def forces_usage_of(self, target: Target) -> bool:
        """Returns whether usage is asked for on the caller's behalf; its extra chunk is then hidden from the caller."""
        body = self.body
        return (
            body.stream
            and not body.wants_usage
            and target.takes_usage_option
            and self.endpoint.takes_stream_options
        )

    def body_for(self, target: Target) -> CallBody:
        """Returns the body without the parameters that the target's provider refuses for its model."""
        paths = target.dropped_parameters
        if not paths:
            return self.body
        body = self.thinned.get(paths)
        if body is None:
            body = self.thinned[paths] = body_without(self.body, paths)
        return body

    def pieces(self, target: Target, *, auth: bytes, span_id: str) -> list[bytes | memoryview]:
        """Renders the request for this target, in as few pieces as can be had without copying a large body.

        auth is a whole header line or empty.
        """
        upstream = target.destination.upstream
        head = self.heads.get(upstream.name)
        if head is None:
            head = self.heads[upstream.name] = self._head(upstream) + self._forwarded(upstream)
        body = upstream_body(
            self.body_for(target),
            endpoint=self.endpoint,
            model=target.model,
            model_json=target.model_json,
            force_usage=self.forces_usage_of(target),
            context=b"" if self.chat_policy is None else self.chat_policy.context,
        )
        size = 0
        for piece in body:
            size += len(piece)
        ids = (
            f"x-request-id: {self.request_id}\r\n"
            f"traceparent: 00-{self.trace_id}-{span_id}-{self.trace_flags}\r\n"
            f"content-length: {size}\r\n\r\n"
        )
        pieces: list[bytes | memoryview] = [head, auth, ids.encode()]
        if size <= COPIED_BYTES:
            pieces += body
            return [b"".join(pieces)]
        return [b"".join(pieces), *body]

    def _head(self, upstream: Upstream) -> bytes:
        head = upstream.heads[self.endpoint]
        if not self.query:
            return head
        # the provider's own parameters win, in any case: a caller must not reach another API version or account, and some
        # servers read their names without regard to case
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        kept = urlencode([pair for pair in pairs if pair[0].lower() not in upstream.query_names])
        if not kept:
            return head
        line, separator, fields = head.partition(b" HTTP/1.1\r\n")
        return line + (b"&" if b"?" in line else b"?") + kept.encode() + separator + fields

    def _forwarded(self, upstream: Upstream) -> bytes:
        dropped = upstream.dropped
        if self.connection_field is not None:
            dropped |= nominated(self.connection_field)
        fields: list[bytes] = []
        for name, value in self.headers:
            if name in dropped or (b"_" in name and name.replace(b"_", b"-") in dropped):
                # servers that hand fields to programs as variables (RFC 3875) read x_api_key as x-api-key
                continue
            if name == b"content-type" and names_form(value):
                # the relay has read it as JSON, and so shall the provider
                fields += (b"content-type: ", JSON_TYPE, b"\r\n")
            else:
                fields += (name, b": ", value, b"\r\n")
        return b"".join(fields)


def new_call(
    request: Request,
    caller: Caller,
    plan: RoutePlan,
    body: CallBody,
    *,
    endpoint: Endpoint,
    call_id: str,
    request_id: str,
) -> Call:
    """Makes the call of a request, with its place in a trace and an estimate of its tokens. call_id is new without one."""
    trace = trace_context(request.fields.get(b"traceparent"))
    trace_id, flags = trace or (random_id(32), "00")
    label = body.model if body.model in caller.snapshot.known_models else OTHER_MODEL
    text_bytes, attachments = text_and_attachments(body.raw)
    return Call(
        tenant=caller.tenant,
        endpoint=endpoint,
        key_name=caller.key.name,
        plan=plan,
        body=body,
        model_label=label,
        headers=request.headers,
        heads=caller.heads,
        connection_field=request.fields.get(b"connection"),
        query=request.query,
        call_id=call_id or random_id(32),
        request_id=request_id,
        trace_id=trace_id,
        trace_flags=flags,
        estimate=caller.tenant.recorder.estimator.estimate(
            label,
            text_bytes=text_bytes,
            attachments=attachments,
            bound=body.output_bound(endpoint),
        ),
        chat_policy=caller.snapshot.chat_policy,
        manifest_revision=caller.snapshot.manifest_revision,
    )
