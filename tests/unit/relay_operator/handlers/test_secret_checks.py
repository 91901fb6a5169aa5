"""Looks at Secrets: only at those that no watch shows, some in a second; a refused one is told by the Tenant whose it is."""

import asyncio
import logging
from typing import Any

import pytest
from tests.unit.relay_operator.counted_lines import Lines
from tests.unit.relay_operator.handlers.recording_queue import a_context
from tests.unit.relay_operator.handlers.test_watching import a_body, tenant_event
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.handlers.context import Context
from relay_operator.handlers.secret_checks import SecretChecks
from relay_operator.handlers.secret_watch import WATCHED
from relay_operator.reconcile.keys.secret_versions import SecretVersions


@in_virtual_time
async def test_a_refused_look_is_told_by_the_tenant_and_not_by_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle(5)
    stage.pod()
    await stage.settle(40)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    # the watch is silent, so that there are looks
    life.secret_watch._heard_at.clear()
    life.api.failures.statuses = {"Secret": 403}
    await stage.settle(60)
    assert "403" in stage.condition("Tenant", "finance", "Ready")["message"]
    assert "Secrets not looked at" not in caplog.text
    await life.end()


def looks(life: Life) -> int:
    """Counts the Secrets that were read so far."""
    return life.api.reads_of["Secret"]


@in_virtual_time
async def test_secrets_that_a_watch_shows_are_not_looked_at() -> None:
    stage = Stage()
    for number in range(20):
        stage.tenant(f"t{number}")
    life = await stage.operator()
    await stage.settle(5)
    for number in range(20):
        stage.pod(tenant=f"t{number}", ip=f"10.0.0.{number + 1}")
    await stage.settle(35)
    before = looks(life)
    await stage.settle(90)
    # but for the resync, which reads what it compares; looks at each every 30 s would be 120
    assert looks(life) - before < 40
    await life.end()


@in_virtual_time
async def test_however_many_tenants_there_are_few_looks_are_made_in_a_second() -> None:
    context, queue = a_context()
    server = InMemoryApiServer(running_clock())
    for number in range(2000):
        await tenant_event(context, "ADDED", a_body(f"t{number}", spec={}))
    api = server.connect()
    client: Any = api
    checks = SecretChecks(
        api=client,
        context=context,
        key_versions=SecretVersions(),
        is_followed=lambda _: False,
        period_seconds=30,
        operator_namespace="relay-system",
    )
    queue.drained()
    checking = asyncio.create_task(checks.run())
    await asyncio.sleep(100)
    # two Secrets of each
    assert 1900 <= api.reads_of["Secret"] <= 2000
    await asyncio.sleep(110)
    assert len({*queue.drained()}) == 2000
    checking.cancel()


@in_virtual_time
async def test_a_certificate_is_looked_at_soon_after_a_start_among_a_thousand_tenants() -> None:
    context, queue = a_context()
    server = InMemoryApiServer(running_clock())
    followed: set[str] = set()
    for number in range(1000):
        await tenant_event(context, "ADDED", a_body(f"t{number}", spec={}))
    tls = {"network": {"tls": {"secretName": "mine"}}}
    await tenant_event(context, "ADDED", a_body("last", spec=tls))
    client: Any = server.connect()
    checks = SecretChecks(
        api=client,
        context=context,
        key_versions=SecretVersions(),
        is_followed=lambda secret: secret in followed,
        period_seconds=30,
        operator_namespace="relay-system",
    )
    queue.drained()
    checking = asyncio.create_task(checks.run())
    await asyncio.sleep(1)
    # the first watch of Secrets was answered
    followed |= {*WATCHED}
    await asyncio.sleep(31)
    assert "Tenant/last" in queue.drained()
    checking.cancel()


def checks_of(context: Context, server: InMemoryApiServer) -> SecretChecks:
    """Looks at what no watch shows, while watches show all that they can."""
    client: Any = server.connect()
    return SecretChecks(
        api=client,
        context=context,
        key_versions=SecretVersions(),
        is_followed=lambda secret: secret in WATCHED,
        period_seconds=30,
        operator_namespace="relay-system",
    )


async def lines_at_rest(tenants: int) -> int:
    """Returns the lines that run in five minutes without a change, one Tenant of which names a certificate."""
    context, _ = a_context()
    tls = {"network": {"tls": {"secretName": "mine"}}}
    for number in range(tenants):
        await tenant_event(context, "ADDED", a_body(f"t{number}", spec={} if number else tls))
    checking = asyncio.create_task(checks_of(context, InMemoryApiServer(running_clock())).run())
    await asyncio.sleep(61)
    lines = Lines()
    with lines.being_counted():
        await asyncio.sleep(300)
    checking.cancel()
    return lines.count


@in_virtual_time
async def test_at_rest_looks_cost_the_same_among_many_tenants() -> None:
    assert await lines_at_rest(200) <= await lines_at_rest(2) + 10


@in_virtual_time
async def test_a_certificate_is_looked_at_from_when_it_is_named_until_it_is_not() -> None:
    context, queue = a_context()
    server = InMemoryApiServer(running_clock())
    await tenant_event(context, "ADDED", a_body("t", spec={}))
    await tenant_event(context, "ADDED", a_body("other", spec={}))
    checking = asyncio.create_task(checks_of(context, server).run())
    await asyncio.sleep(61)
    queue.drained()
    tls = {"network": {"tls": {"secretName": "mine"}}}
    for spec, generation, is_seen in ((tls, 2, True), ({}, 3, False)):
        await tenant_event(context, "MODIFIED", a_body("t", spec=spec, generation=generation))
        queue.drained()
        await asyncio.sleep(61)
        assert ("Tenant/t" in queue.drained()) is is_seen
    checking.cancel()
