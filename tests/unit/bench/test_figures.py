"""The figures the benchmarks close with: right ratios, honest intervals, the promised names."""

import pytest
from bench.isolation.intervals import percentile
from bench.relay import __main__ as relay_bench
from bench.relay import stacks
from bench.relay.chat_body import chat_body
from bench.relay.load import Measured
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.routing.snapshot import compile_snapshot
from relay_contract.seal import seal

PROMISED = (
    *("unary_vs_envoy", "unary_vs_litellm", "body100k_vs_envoy", "sse_cpu_vs_envoy"),
    "chat100k_vs_envoy",
    *("unary_ledger_on_vs_off", "sse_cpu_ledger_on_vs_off"),
    *("added_p50_us", "added_p99_us", "rss_mib"),
)


def rounds(*rates: int, cpu_us: float = 20.0, p50_us: float = 50.0) -> list[Measured]:
    """One-second runs."""
    return [Measured(rate, 1.0, p50_us, 2 * p50_us, cpu_us, cpu_us) for rate in rates]


def table() -> relay_bench.Table:
    figures: relay_bench.Table = {}
    for shape in (
        *(relay_bench.UNARY, relay_bench.TRACED, relay_bench.BODY_100K),
        relay_bench.CHAT_100K,
        *(relay_bench.STREAM_32, relay_bench.STREAM_256),
    ):
        # the machine is twice as slow in the second round: pairs must not notice
        figures["relay", shape.name] = rounds(3000, 1500, 3000)
        figures["Envoy", shape.name] = rounds(2000, 1000, 2000, cpu_us=30.0)
        figures["Envoy+", shape.name] = rounds(1000, 500, 1000)
    for shape in (relay_bench.RECORDED, relay_bench.RECORDED_STREAM):
        figures["relay", shape.name] = rounds(3000, 1500, 3000)
        figures["relay+", shape.name] = rounds(2910, 1455, 2910, cpu_us=20.4)
    figures["LiteLLM", relay_bench.UNARY.name] = rounds(10, 5, 10)
    figures["relay", relay_bench.ALONE.name] = rounds(1, 1, 1, p50_us=80.0)
    figures["provider", relay_bench.ALONE.name] = rounds(1, 1, 1, p50_us=30.0)
    return figures


def test_the_relays_last_line_has_the_promised_figures() -> None:
    line = relay_bench._summary(table(), {"relay": 68.4})
    name, _, rest = line.partition(": ")
    figures = {key: float(value) for key, _, value in (p.partition("=") for p in rest.split())}
    assert name == "relay"
    assert set(PROMISED) <= set(figures)
    assert figures["unary_vs_envoy"] == 1.5
    assert figures["unary_vs_envoy_with_duties"] == 3.0
    assert figures["unary_vs_litellm"] == 300
    assert figures["sse_cpu_vs_envoy"] == 1.5
    assert figures["unary_ledger_on_vs_off"] == 0.97
    assert figures["sse_cpu_ledger_on_vs_off"] == 1.02
    assert (figures["added_p50_us"], figures["added_p99_us"]) == (50, 100)


def test_every_feature_is_on_in_the_relay_that_is_measured() -> None:
    document = stacks._document()
    assert seal(document, Ed25519PrivateKey.generate())
    snapshot = compile_snapshot(document, "digest")
    (plan,) = snapshot.plans
    assert plan.canary is not None
    assert 0 < plan.canary_percent < 100
    assert plan.fallback
    assert plan.objectives
    assert document.tenant.limits.requests_per_minute
    assert document.tenant.limits.tokens_per_minute
    for upstream in snapshot.upstreams.values():
        assert upstream.key_file
        assert upstream.provider.limits.tokens_per_minute
        # the provider's own name differs, so that every body is edited
        assert all(public != own for public, own in upstream.models.items())


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.07, 7), (1.0, 100)]
)
def test_percentiles_are_by_nearest_rank(quantile: float, value: int) -> None:
    assert percentile(list(range(1, 101)), quantile) == value


def test_the_chat_body_is_a_real_chat_of_about_100_kb() -> None:
    body = chat_body("gpt-4.1", seed=1)
    assert 90_000 < len(body) < 130_000
    assert b"\n" not in body
    assert body.endswith(b'"model":"gpt-4.1"}')
    assert b"\\n" in body
    assert not body.isascii()
    assert body != chat_body("gpt-4.1", seed=2)
