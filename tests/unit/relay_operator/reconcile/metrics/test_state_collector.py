"""Series about tenants and routes: what alerts read is true at every scrape, and gone with its object."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.relay_operator.counted_lines import Lines
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import annotate_keys, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.metrics import exposition
from relay_operator.cluster.metrics.written_metric import WrittenMetric
from relay_operator.decisions import timestamps
from relay_operator.reconcile.metrics.state_collector import StateCollector

SPACE = "relay-finance"
ROUTE = {"namespace": SPACE, "route": "chat"}
TENANT = {"namespace": SPACE, "tenant": "finance"}
CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {
        "stepPercent": 25,
        "every": "10s",
        "minRequests": 20,
        "approval": "Manual",
        "stepDeadline": {"after": "60s"},
    },
}
ANALYSIS = {"minRequests": 10, "errorRate": {"maxPercent": 1}, "unmeasurable": {"after": "5m"}}


async def a_canary(**analysis: Any) -> tuple[Stage, Life, dict[str, Any]]:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    route = stage.route(canary=CANARY, analysis=ANALYSIS | analysis)
    await stage.settle()
    stage.serve(route, 0)
    await stage.settle()
    return stage, life, route


def collector_of(life: Life) -> StateCollector:
    return StateCollector(
        watched_state=life.watched_state, canaries=life.canaries, isolation=life.isolation
    )


def a_registry(life: Life) -> CollectorRegistry:
    """Returns a registry that has not been scraped."""
    registry = CollectorRegistry()
    registry.register(collector_of(life))
    return registry


def scraped(life: Life) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Returns the samples of a scrape, as Prometheus reads them."""
    text = generate_latest(a_registry(life)).decode()
    return {
        (
            sample.name.removeprefix("relay_operator_"),
            frozenset(sample.labels.items()),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(life: Life, name: str, labels: dict[str, str]) -> float | None:
    return scraped(life).get((name, frozenset(labels.items())))


def phases(life: Life) -> list[str]:
    return [dict(labels)["phase"] for name, labels in scraped(life) if name == "route_phase"]


@in_virtual_time
async def test_a_route_that_climbs_has_its_phase_its_weight_and_when_its_step_is_due() -> None:
    stage, life, _ = await a_canary()
    assert phases(life) == ["Progressing"]
    assert value(life, "route_ready", ROUTE) == 1
    assert value(life, "route_canary_weight_percent", ROUTE) == 25
    step = stage.status("RelayRoute", "chat", tenant="finance")["step"]
    due = value(life, "route_step_due_timestamp_seconds", ROUTE)
    assert due == pytest.approx(timestamps.from_text(step["startedAt"]) + 10, abs=1)
    assert value(life, "route_step_overdue", ROUTE) == 0
    assert value(life, "route_awaiting_approval", ROUTE) == 0
    assert value(life, "route_unmeasurable_since_timestamp_seconds", ROUTE) is None
    await life.end()


@in_virtual_time
async def test_a_canary_that_fails_is_shown_rolled_back() -> None:
    stage, life, route = await a_canary()
    await stage.fail(route)
    await stage.settle()
    assert phases(life) == ["RolledBack"]
    assert value(life, "route_canary_weight_percent", ROUTE) == 0
    assert value(life, "route_ready", ROUTE) == 0
    await life.end()


@in_virtual_time
async def test_a_canary_that_is_to_stop_on_a_breach_is_shown_frozen() -> None:
    stage, life, route = await a_canary(onBreach="Freeze")
    await stage.fail(route)
    await stage.settle()
    assert phases(life) == ["Frozen"]
    assert value(life, "route_canary_weight_percent", ROUTE) == 25
    await life.end()


@in_virtual_time
async def test_a_step_that_waits_for_a_person_is_shown_and_later_that_it_is_overdue() -> None:
    stage, life, route = await a_canary()
    stage.serve(route, 50)
    await stage.settle(12)
    assert value(life, "route_awaiting_approval", ROUTE) == 1
    assert value(life, "route_step_overdue", ROUTE) == 0
    await stage.settle(60)
    assert value(life, "route_awaiting_approval", ROUTE) == 0
    assert value(life, "route_step_overdue", ROUTE) == 1
    await life.end()


@in_virtual_time
async def test_a_canary_without_evidence_has_the_time_since_when_until_there_is_some() -> None:
    stage, life, route = await a_canary()
    stage.samples.problem = "connection refused"
    went_blind = stage.clock.now
    await stage.settle(60)
    since = value(life, "route_unmeasurable_since_timestamp_seconds", ROUTE)
    assert since is not None
    assert went_blind <= since < went_blind + 5
    stage.samples.problem = ""
    stage.serve(route, 50)
    await stage.settle()
    assert value(life, "route_unmeasurable_since_timestamp_seconds", ROUTE) is None
    await life.end()


@in_virtual_time
async def test_relay_pods_without_the_newest_configuration_are_counted() -> None:
    stage, life, _ = await a_canary()
    assert value(life, "tenant_ready", TENANT) == 1
    assert value(life, "tenant_relay_pods", TENANT) == 1
    assert value(life, "tenant_relay_pods_programmed", TENANT) == 1
    stage.relays.silent.add("relay-1")
    stage.tenant(apiKeys=[{"name": "another"}])
    await stage.settle(20)
    assert value(life, "tenant_relay_pods_programmed", TENANT) == 0
    assert value(life, "tenant_ready", TENANT) == 0
    await life.end()


@in_virtual_time
async def test_a_route_that_is_refused_from_the_start_is_not_ready_and_has_no_weight() -> None:
    stage, life, _ = await a_canary()
    stage.route("other", match={"models": ["m"]}, stable={"provider": "unknown"})
    await stage.settle()
    other = ROUTE | {"route": "other"}
    assert value(life, "route_ready", other) == 0
    assert value(life, "route_canary_weight_percent", other) is None
    await life.end()


@in_virtual_time
async def test_series_end_with_their_objects() -> None:
    stage, life, _ = await a_canary()
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await stage.settle()
    assert not [name for name, _ in scraped(life) if name.startswith("route_")]
    assert value(life, "tenant_ready", TENANT) == 1
    await life.end()


@in_virtual_time
async def test_the_isolation_of_a_tenant_is_told_with_the_time_of_its_probe() -> None:
    stage, life, _ = await a_canary()
    await stage.settle()
    labels = {"namespace": "relay-finance", "tenant": "finance"}
    assert value(life, "tenant_isolated", labels) == 1
    probed = value(life, "tenant_isolation_probed_timestamp_seconds", labels)
    assert probed is not None
    assert stage.clock.now - 60 < probed < stage.clock.now
    stage.network.is_enforced = False
    await stage.settle(60)
    assert value(life, "tenant_isolated", labels) == 0
    await life.end()


@in_virtual_time
async def test_rotations_and_overlaps_of_keys_are_told_by_name() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=[{"name": "web"}, {"name": "batch"}])
    web = TENANT | {"key": "web"}
    assert value(life, "api_key_rotation_due_timestamp_seconds", web) is None
    rotation = {"every": "720h", "overlap": "24h"}
    stage.tenant(apiKeys=[{"name": "web"}], keyRotation=rotation)
    await stage.settle()
    await annotate_keys(stage, "rotate-keys", "web", "id")
    await stage.settle()
    due = value(life, "api_key_rotation_due_timestamp_seconds", web)
    until = value(life, "api_key_previous_until_timestamp_seconds", web)
    assert due is not None
    assert until is not None
    assert abs(due - stage.clock.now - 720 * 3600) < 10
    assert abs(until - stage.clock.now - 24 * 3600) < 10
    batch = TENANT | {"key": "batch"}
    assert value(life, "api_key_rotation_due_timestamp_seconds", batch) is None
    await life.end()


@in_virtual_time
async def test_a_second_scrape_costs_what_changed_and_tells_what_is() -> None:
    stage = Stage()
    stage.provider("legacy")
    for number in range(20):
        stage.tenant(f"t{number}")
    life = await stage.operator()
    await stage.settle(2)
    for number in range(20):
        stage.pod(tenant=f"t{number}", ip=f"10.0.1.{number}")
        stage.route(tenant=f"t{number}")
    await stage.settle(60)
    registry = a_registry(life)
    costs = []
    for _ in range(2):
        lines = Lines()
        with lines.being_counted():
            first = await exposition.written(registry)
        costs.append(lines.count)
    assert costs[1] < costs[0] / 2
    stage.pod(tenant="t3", ip="10.0.1.3", ready=False)
    stage.server.remove("Tenant", "t7")
    stage.server.collect_garbage()
    await stage.settle(20)
    text = (await exposition.written(registry)).decode()
    assert text != first.decode()
    assert 'tenant="t7"' not in text
    assert 'relay_operator_tenant_ready{namespace="relay-t3",tenant="t3"} 0.0' in text
    assert text == (await exposition.written(a_registry(life))).decode()
    await life.end()


@in_virtual_time
async def test_who_scrapes_again_and_again_reads_what_one_reads_who_scrapes_once() -> None:
    stage, life, route = await a_canary()
    registry = a_registry(life)
    seen = set()

    async def compare() -> None:
        kept, anew = await exposition.written(registry), await exposition.written(a_registry(life))
        assert sorted(kept.splitlines()) == sorted(anew.splitlines())
        seen.add(kept)

    for _ in range(15):
        stage.serve(route, 100)
        await stage.settle(2)
        await compare()
    await stage.fail(route)
    for _ in range(10):
        await stage.settle(2)
        await compare()
    assert phases(life) == ["RolledBack"]
    stage.route()
    await stage.settle(20)
    await compare()
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await stage.settle(20)
    await compare()
    assert len(seen) > 10
    await life.end()


@in_virtual_time
async def test_two_scrapes_at_a_time_miss_nothing() -> None:
    stage, life, _ = await a_canary()
    collector = collector_of(life)
    first = next(iter(collector.collect()))
    assert isinstance(first, WrittenMetric)
    next(first.steps)
    stage.tenant("late")
    await stage.settle()
    second = next(iter(collector.collect()))
    assert isinstance(second, WrittenMetric)
    for metric in (second, first):
        for _ in metric.steps:
            pass
    assert {'tenant="late"' in "".join(metric.lines) for metric in (first, second)} == {True}
    await life.end()
