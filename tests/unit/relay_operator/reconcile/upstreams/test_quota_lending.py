"""Tenants lend each other what they do not use of a Provider's quota: the whole operator, with relays that tell what they use."""

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document
from relay_contract.quota_use import QUOTA_LEVELS
from relay_operator import names
from relay_operator.api.shards import Shards
from relay_operator.reconcile.upstreams import quota_lending

LIMIT = 800
TENANTS = ("t0", "t1", "t2", "t3")


async def a_stage(tenants: tuple[str, ...] = TENANTS) -> tuple[Stage, Life]:
    """Returns tenants of equal weight that share the Provider legacy, each with a pod that is named like it."""
    stage = Stage()
    stage.provider("legacy", limits={"requestsPerMinute": LIMIT})
    for tenant in tenants:
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle()
    for number, tenant in enumerate(tenants):
        stage.pod(tenant, tenant=tenant, ip=f"10.0.1.{number}")
    await stage.settle()
    for tenant in tenants:
        stage.route(tenant=tenant)
    await stage.settle(30)
    return stage, life


def limit(found: document.Document) -> int:
    [provider] = found.catalogue.providers
    assert provider.limits.requests_per_minute is not None
    return provider.limits.requests_per_minute


def parts(stage: Stage) -> dict[str, int]:
    """Returns what the pod of each tenant runs with."""
    return {
        one["metadata"]["name"]: limit(stage.relays.documents[one["metadata"]["uid"]])
        for one in stage.server.list("Pod")
        if one["metadata"]["uid"] in stage.relays.documents
    }


def stored(stage: Stage, life: Life, tenant: str) -> int:
    publication = life.publisher.publication(names.tenant_namespace(tenant))
    assert publication is not None
    assert publication.stored_document is not None
    return limit(publication.stored_document)


def told(stage: Stage) -> tuple[int, int]:
    status = stage.status("Provider", "legacy")
    return status.get("tenantsLending", 0), status.get("tenantsBorrowing", 0)


@in_virtual_time
async def test_what_is_not_used_is_lent_and_comes_back_within_seconds() -> None:
    stage, life = await a_stage()
    assert parts(stage) == dict.fromkeys(TENANTS, 200)
    stage.relays.use("t1", legacy="Quiet")
    stage.relays.use("t2", legacy="Quiet")
    await stage.settle(30)
    # nobody needs it
    assert parts(stage) == dict.fromkeys(TENANTS, 200)
    stage.relays.use("t0", legacy="Short")
    await stage.settle(5)
    assert parts(stage) == {"t0": 500, "t1": 50, "t2": 50, "t3": 200}
    await stage.settle(1)
    assert (stored(stage, life, "t0"), stored(stage, life, "t1")) == (500, 50)
    assert told(stage) == (2, 1)
    stage.relays.use("t1", legacy="Busy")
    await stage.settle(4)
    assert parts(stage) == {"t0": 350, "t1": 200, "t2": 50, "t3": 200}
    await life.end()


@in_virtual_time
async def test_never_more_than_the_quota_is_in_force_while_who_uses_what_changes() -> None:
    stage, life = await a_stage()
    seen = set()

    def look() -> None:
        if len(parts(stage)) == len(TENANTS):
            seen.add(tuple(sorted(parts(stage).values())))
            assert sum(parts(stage).values()) <= LIMIT

    stage.relays.meanwhile = look
    stage.relays.seconds = {"t0": 0.7, "t2": 0.3}
    for levels in ("SQQQ", "SSQQ", "QSSQ", "BQSS", "QQQQ", "SQUQ", "QSQU", "UUUU"):
        for tenant, letter in zip(TENANTS, levels, strict=True):
            level = next(one for one in QUOTA_LEVELS if one.startswith(letter))
            stage.relays.use(tenant, legacy=level)
        await stage.settle(12)
        look()
    assert len(seen) > 5
    # and what nobody wants any more is everybody's own again
    await stage.settle(400)
    assert parts(stage) == dict.fromkeys(TENANTS, LIMIT // len(TENANTS))
    await life.end()


@in_virtual_time
async def test_a_restarted_operator_gives_nobody_more_before_others_have_less() -> None:
    stage, life = await a_stage()
    stage.relays.use("t0", legacy="Short")
    stage.relays.use("t1", legacy="Quiet")
    await stage.settle(5)
    assert parts(stage) == {"t0": 350, "t1": 50, "t2": 200, "t3": 200}
    await life.end()
    stage.relays.use("t1", legacy="Short")

    def look() -> None:
        assert sum(parts(stage).values()) <= LIMIT

    stage.relays.meanwhile = look
    stage.relays.silent.add("t0")
    again = await stage.operator()
    await stage.settle(20)
    # who borrowed has not taken less
    assert parts(stage) == {"t0": 350, "t1": 50, "t2": 200, "t3": 200}
    stage.relays.silent.clear()
    await stage.settle(40)
    assert parts(stage) == dict.fromkeys(TENANTS, 200)
    await again.end()


@in_virtual_time
async def test_a_relay_that_is_gone_silent_keeps_nobody_waiting_for_long() -> None:
    stage, life = await a_stage()
    stage.relays.use("t0", legacy="Short")
    stage.relays.use("t1", legacy="Quiet")
    await stage.settle(5)
    stage.relays.silent.add("t0")
    stage.relays.use("t1", legacy="Short")
    await stage.settle(20)
    assert parts(stage)["t1"] == 200
    await life.end()


@in_virtual_time
async def test_a_quota_of_one_tenant_or_none_concerns_nobody() -> None:
    stage, life = await a_stage(("t0",))
    assert parts(stage) == {"t0": LIMIT}
    stage.provider("legacy")
    await stage.settle()
    [found] = stage.relays.documents.values()
    assert found.catalogue.providers[0].limits == document.ProviderLimits()
    await stage.settle(60)
    before = stage.relays.asked_for_use
    await stage.settle(60)
    assert stage.relays.asked_for_use == before
    await life.end()


@in_virtual_time
async def test_a_raised_quota_reaches_who_is_alone_after_a_restart() -> None:
    stage, life = await a_stage(("t0",))
    await life.end()
    stage.provider("legacy", limits={"requestsPerMinute": 2 * LIMIT})
    again = await stage.operator()
    await stage.settle(10)
    assert parts(stage) == {"t0": 2 * LIMIT}
    await again.end()


@in_virtual_time
async def test_tenants_are_asked_in_turns_at_a_bounded_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota_lending, "MOST_ASKED", 2)
    stage, life = await a_stage()
    before = stage.relays.asked_for_use
    await stage.settle(600)
    # two tenants at a time, each once in its time
    assert stage.relays.asked_for_use - before <= 90
    stage.relays.use("t1", legacy="Quiet")
    stage.relays.use("t3", legacy="Short")
    await stage.settle(75)
    assert parts(stage) == {"t0": 200, "t1": 50, "t2": 200, "t3": 350}
    await life.end()


@in_virtual_time
async def test_what_is_not_stored_yet_makes_room_for_nobody() -> None:
    """The next life of the operator, and pods that begin, go by what is stored."""
    stage, life = await a_stage()
    life.api.failures.statuses = {"ConfigMap": 503}
    stage.relays.use("t0", legacy="Short")
    stage.relays.use("t1", legacy="Quiet")
    await stage.settle(5)
    await life.end()
    stage.relays.silent.add("t0")
    again = await stage.operator()
    for _ in range(20):
        await stage.settle(5)
        assert sum(parts(stage).values()) <= LIMIT
    await again.end()


@in_virtual_time
async def test_each_shard_lends_among_its_own_tenants() -> None:
    stage = Stage()
    stage.provider("legacy", limits={"requestsPerMinute": LIMIT})
    for name in TENANTS:
        stage.tenant(name, labels={"shard": "a"} if name in ("t0", "t1") else {})
    told = '[{"name":"a","tenantSelector":"shard=a"}]'
    lives = [stage.life(shards=Shards.read(own, told)) for own in ("", "a")]
    for life in lives:
        await life.start()
    await stage.settle()
    for number, name in enumerate(TENANTS):
        stage.pod(name, tenant=name, ip=f"10.0.1.{number}")
    await stage.settle()
    for name in TENANTS:
        stage.route(tenant=name)
    await stage.settle(180)
    stage.relays.use("t0", legacy="Short")
    stage.relays.use("t1", legacy="Quiet")
    stage.relays.use("t2", legacy="Short")
    await stage.settle(30)
    # what t1 gave up went to t0, which is of the same shard
    assert sum(parts(stage).values()) == LIMIT
    assert parts(stage)["t0"] > LIMIT // len(TENANTS)
    for life in lives:
        await life.end()
