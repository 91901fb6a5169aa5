"""What a Provider costs its tenants: nothing while it stays broken, and little while others come and go."""

from collections.abc import Callable

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names

TENANTS = tuple(f"t{number}" for number in range(6))
LIMIT = 1000


async def a_stage() -> tuple[Stage, Life]:
    """Returns tenants that share the Provider legacy, and one more that has no route yet."""
    stage = Stage()
    stage.provider("legacy", limits={"requestsPerMinute": LIMIT})
    for tenant in (*TENANTS, "taker"):
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle()
    for number, tenant in enumerate((*TENANTS, "taker")):
        stage.pod("relay-1", tenant=tenant, ip=f"10.0.1.{number}")
    await stage.settle()
    for tenant in TENANTS:
        stage.route(tenant=tenant)
    await stage.settle(60)
    return stage, life


def secret_deleted(stage: Stage) -> None:
    stage.server.remove("Secret", "legacy-key", namespace=SYSTEM)


def secret_emptied(stage: Stage) -> None:
    stage.secret("legacy-key", value="")


def address_forbidden(stage: Stage) -> None:
    stage.provider("legacy", endpoint={"url": "https://127.0.0.1/v1"})


def service_missing(stage: Stage) -> None:
    stage.provider(
        "legacy", endpoint={"serviceRef": {"namespace": SYSTEM, "name": "llm", "port": 80}}
    )


async def reads_of_ten_minutes(stage: Stage, life: Life, kind: str) -> int:
    """Counts over a whole resync: within one, the minutes differ."""
    before = life.api.reads_of[kind]
    await stage.settle(600)
    return life.api.reads_of[kind] - before


@pytest.mark.parametrize(
    "breaks", [secret_deleted, secret_emptied, address_forbidden, service_missing]
)
@in_virtual_time
async def test_a_provider_that_stays_broken_costs_its_tenants_nothing(
    breaks: Callable[[Stage], None],
) -> None:
    stage, life = await a_stage()
    healthy = await reads_of_ten_minutes(stage, life, "Secret")
    breaks(stage)
    await stage.settle(10)
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "False"
    assert await reads_of_ten_minutes(stage, life, "Secret") <= 1.5 * healthy
    # what is mended is found at once
    stage.provider("legacy", limits={"requestsPerMinute": LIMIT})
    await stage.settle()
    assert stage.condition("Provider", "legacy", "Probed") != {}
    for tenant in TENANTS:
        ready = stage.condition("Tenant", tenant, "Ready")
        assert ready["status"] == "True", ready
    await life.end()


@in_virtual_time
async def test_a_provider_whose_status_is_refused_does_not_queue_its_tenants_at_each_try() -> None:
    stage, life = await a_stage()
    healthy = await reads_of_ten_minutes(stage, life, "Secret")
    life.api.failures.statuses = {"Provider": 403}
    stage.provider("legacy", limits={"requestsPerMinute": LIMIT}, coolDown="5s")
    await stage.settle(10)
    # the Provider itself is tried again, with backoff
    assert await reads_of_ten_minutes(stage, life, "Secret") <= 1.5 * healthy + 20
    await life.end()


def shares(life: Life) -> dict[str, int | None]:
    found = {}
    for tenant in (*TENANTS, "taker"):
        publication = life.publisher.publication(names.tenant_namespace(tenant))
        assert publication is not None
        assert publication.document is not None
        for one in publication.document.catalogue.providers:
            found[tenant] = one.limits.requests_per_minute
    return found


def documents_of_others(life: Life) -> int:
    taker = names.tenant_namespace("taker")
    return sum(
        write.changed and write.key[0] == "ConfigMap" and write.key[1] != taker
        for write in life.api.writes
    )


@in_virtual_time
async def test_a_tenant_that_comes_and_goes_does_not_rewrite_the_documents_of_all_others() -> None:
    stage, life = await a_stage()
    before = documents_of_others(life)
    for second in range(30):
        if second % 2:
            stage.server.remove("RelayRoute", "chat", namespace="relay-taker")
        else:
            stage.route(tenant="taker")
        if second == 15:
            stage.secret("legacy-key", value="bmV3")
        await stage.settle(1)
        if second == 17:
            # another key waits for nothing
            for tenant in TENANTS:
                space = names.tenant_namespace(tenant)
                handed = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=space)
                assert handed["data"]["legacy"] == "bmV3"
    assert documents_of_others(life) - before <= 7 * len(TENANTS)
    # nobody stays with a share of a moment
    await stage.settle(15)
    assert shares(life) == dict.fromkeys(TENANTS, LIMIT // len(TENANTS))
    stage.route(tenant="taker")
    await stage.settle(15)
    assert shares(life) == dict.fromkeys((*TENANTS, "taker"), LIMIT // (len(TENANTS) + 1))
    await life.end()


@in_virtual_time
async def test_a_few_changes_of_shares_are_told_at_once() -> None:
    stage, life = await a_stage()
    stage.route(tenant="taker")
    await stage.settle(2)
    assert set(shares(life).values()) == {LIMIT // (len(TENANTS) + 1)}
    stage.server.remove("RelayRoute", "chat", namespace="relay-taker")
    await stage.settle(2)
    assert set(shares(life).values()) == {LIMIT // len(TENANTS)}
    await life.end()
