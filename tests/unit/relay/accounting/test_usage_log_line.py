"""A usage event as a line of the log."""

import json

import pytest

from relay.accounting.metrics import WorkerMetrics
from relay.accounting.slo_counters import SloCounters
from relay.accounting.token_estimates import TokenEstimator
from relay.accounting.token_rates import ModelRates
from relay.accounting.usage_event import Subject, UsageEvent
from relay.accounting.usage_log_line import event_id, usage_line
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.dialect.request_body import OutputBound


@pytest.mark.parametrize("revision", ["", "5f" * 16])
@pytest.mark.parametrize("tokens", [None, Tokens(9, 4, 1, 2)])
def test_a_usage_line_is_the_event_as_json(tokens: Tokens | None, revision: str) -> None:
    metrics = WorkerMetrics()
    subject = Subject(
        tenant="finance",
        tenant_uid="uid-1",
        endpoint=Endpoint.CHAT,
        key='odd"key',
        route="chat",
        side="stable",
        fingerprint="a" * 12,
        provider="legacy",
        model="gpt\\4",
        model_label="other",
        upstream_model="up",
        objectives={},
        series=metrics.attempts("chat", "stable", "legacy", "other"),
        slo=SloCounters("uid-1").side("chat", "stable", "a" * 12),
        rates=ModelRates(),
        manifest_revision=revision,
    )
    event = UsageEvent(
        subject,
        call_id="c" * 32,
        attempt_id="c" * 32 + "-2",
        request_id="req_1",
        upstream_request_id=None,
        trace_id="t" * 32,
        attempt=2,
        status=None,
        outcome="timeout",
        stream=True,
        tokens=tokens,
        charged_tokens=0,
        estimated=False,
        unreadable=False,
        client_gone=True,
        latency_seconds=0.25,
        first_token_seconds=None,
        response_id=None,
        estimate=TokenEstimator().estimate(
            "other",
            text_bytes=100,
            attachments=0,
            bound=OutputBound(tokens=None, choices=1),
        ),
        first_byte_seconds=0.0,
        overhead_seconds=0.0,
        counted_slow=(),
        probe=False,
    )
    line = json.loads(usage_line(event, timestamp=1.5, pod="pod-1"))
    assert line == {
        "ts": 1.5,
        "event": "usage",
        "event_id": event_id(event),
        "call_id": "c" * 32,
        "attempt_id": "c" * 32 + "-2",
        "pod": "pod-1",
        "tenant": "finance",
        "tenant_uid": "uid-1",
        "request_id": "req_1",
        "upstream_request_id": None,
        "trace_id": "t" * 32,
        "endpoint": "chat.completions",
        "key": 'odd"key',
        "route": "chat",
        "side": "stable",
        "fingerprint": "a" * 12,
        "provider": "legacy",
        "model": "gpt\\4",
        "upstream_model": "up",
        "manifest_revision": revision or None,
        "attempt": 2,
        "status": None,
        "outcome": "timeout",
        "stream": True,
        "tokens": {"input": 9, "output": 4, "cached": 1, "reasoning": 2}
        if tokens is not None
        else None,
        "estimated": False,
        "client_gone": True,
        "latency_seconds": 0.25,
        "first_token_seconds": None,
    }
