"""Records of attempts for tests, as strategies and as single values."""

from typing import Any, get_args

from hypothesis import strategies as st

from relay_contract.billing.attempt_event import (
    COUNTED,
    MAX_MICROSECONDS,
    SERVED,
    AttemptClosed,
    AttemptOpened,
    UsageSource,
    event_id,
)
from relay_contract.billing.token_buckets import BUCKETS, BilledUnits, TokenBuckets
from relay_contract.billing.tool_call import CARRIED_OUT, ToolCall, ToolOutcome, tool_call_id

NOON = 1_790_000_000_000_000
LABELS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x7f"), max_size=40
)
NAMES = LABELS.filter(bool)
IDENTIFIERS = st.from_regex(r"\A[0-9A-Za-z_-]{1,20}\Z")
BUCKET_COUNTS = st.fixed_dictionaries({}, optional=dict.fromkeys(BUCKETS, st.integers(0, 10**7)))


def attempt(**changes: Any) -> dict[str, Any]:
    """Returns the fields that both records of an attempt have; the id is computed."""
    fields: dict[str, Any] = {
        "version": 1,
        "tenant_uid": "uid-a",
        "tenant": "acme",
        "relay": "relay-0",
        "call_id": "c0ffee",
        "attempt_id": "c0ffee-1",
        "attempt": 1,
        "dispatched_at": NOON,
        "side": "stable",
        "route": "chat",
        "key_name": "app",
        "provider": "openai",
        "endpoint": "chat.completions",
        "requested_model": "gpt",
        "routed_model": "gpt-4.1",
        **changes,
    }
    identity = {name: fields[name] for name in ("tenant_uid", "attempt_id", "dispatched_at")}
    return {**fields, "id": event_id(kind="usage", **identity)}


def opened(**changes: Any) -> AttemptOpened:
    return AttemptOpened(phase="opened", **attempt(**changes))


def closed(**changes: Any) -> AttemptClosed:
    """Returns an attempt that went well and took a second, unless it is changed."""
    dispatched_at = changes.get("dispatched_at", NOON)
    ending: dict[str, Any] = {
        "closed_at": dispatched_at + 1_000_000,
        "outcome": "ok",
        "status": 200,
        "delivered": True,
        "usage_source": "provider",
        "tokens": TokenBuckets(input=1000, output=100),
        "answered_model": "gpt-4.1",
    }
    names = ending.keys() | AttemptClosed.model_fields.keys() - AttemptOpened.model_fields.keys()
    ending |= {name: changes.pop(name) for name in names if name in changes}
    return AttemptClosed(phase="closed", **attempt(**changes), **ending)


def tool_call(**changes: Any) -> ToolCall:
    """Returns a call of a tool that went well and took a quarter of a second, unless it is changed."""
    called_at = changes.get("called_at", NOON)
    fields: dict[str, Any] = {
        "version": 1,
        "kind": "tool",
        "tenant_uid": "uid-a",
        "tenant": "acme",
        "relay": "relay-0",
        "call_id": "c0ffee",
        "round_id": "c0ffee",
        "called_at": called_at,
        "ended_at": called_at + 250_000,
        "key_name": "app",
        "method": "tools/call",
        "server": "erp",
        "name": "read_invoice",
        "rule": "read_*",
        "revision": "r1",
        "outcome": "ok",
        "request_bytes": 120,
        "answer_bytes": 64,
        **changes,
    }
    identity = {name: fields[name] for name in ("tenant_uid", "round_id", "called_at")}
    return ToolCall(**{"id": tool_call_id(**identity), **fields})


def denied_call(**changes: Any) -> ToolCall:
    """Returns a call of a tool that is not granted, unless it is changed."""
    denied = {"server": "", "rule": "", "outcome": "denied", "answer_bytes": 0}
    return tool_call(**{**denied, **changes})


@st.composite
def tool_calls(draw: st.DrawFn) -> ToolCall:
    called_at = draw(st.integers(0, MAX_MICROSECONDS))
    outcome = draw(st.sampled_from(get_args(ToolOutcome)))
    placed = NAMES if outcome in {*CARRIED_OUT, "replayed"} else LABELS
    return tool_call(
        tenant_uid=draw(IDENTIFIERS),
        tenant=draw(NAMES),
        round_id=draw(IDENTIFIERS),
        called_at=called_at,
        ended_at=draw(st.integers(called_at, MAX_MICROSECONDS)),
        key_name=draw(LABELS),
        server=draw(placed),
        rule=draw(placed),
        name=draw(LABELS),
        outcome=outcome,
        request_bytes=draw(st.integers(0, 2**63 - 1)),
        answer_bytes=draw(st.integers(0, 2**63 - 1)),
        request_id=draw(LABELS),
    )


@st.composite
def attempts(draw: st.DrawFn) -> dict[str, Any]:
    return attempt(
        tenant_uid=draw(IDENTIFIERS),
        tenant=draw(NAMES),
        attempt_id=draw(IDENTIFIERS),
        attempt=draw(st.integers(1, 1000)),
        dispatched_at=draw(st.integers(0, MAX_MICROSECONDS)),
        side=draw(st.sampled_from(["stable", "canary", "fallback", "shadow", "preflight"])),
        key_name=draw(LABELS),
        requested_model=draw(LABELS),
        stream=draw(st.booleans()),
        request_id=draw(LABELS),
        manifest_revision=draw(LABELS),
        reserved_pico=draw(st.none() | st.integers(0, 2**63 - 1)),
        price_version=draw(st.none() | LABELS),
    )


@st.composite
def records(draw: st.DrawFn) -> AttemptOpened | AttemptClosed:
    fields = draw(attempts())
    reserved = st.none() | st.builds(lambda counts: TokenBuckets(**counts), BUCKET_COUNTS)
    if draw(st.booleans()):
        return AttemptOpened(phase="opened", **fields, reserved_tokens=draw(reserved))
    source = draw(st.sampled_from(get_args(UsageSource)))
    billed = st.sampled_from(["delivered", "abandoned", ""])
    by = draw(billed) if fields["side"] in SERVED else ""
    return AttemptClosed(
        phase="closed",
        **fields,
        closed_at=draw(st.integers(fields["dispatched_at"], MAX_MICROSECONDS)),
        outcome=draw(st.sampled_from(["ok", "failed", "timeout", "cancelled"])),
        status=draw(st.none() | st.integers(100, 599)),
        delivered=by == "delivered",
        abandoned=by == "abandoned",
        usage_source=source,
        tokens=TokenBuckets(**draw(BUCKET_COUNTS)) if source in COUNTED else None,
        reserved_tokens=draw(reserved) if source == "unknown" else None,
        units=BilledUnits(web_search=draw(st.integers(0, 10))),
        cache_reported=draw(st.booleans()),
        answered_model=draw(st.none() | LABELS),
        service_tier=draw(st.none() | LABELS),
    )
