"""What is taken from a tenant while a slow reconcile of it is under way: refused within a second, and never given back."""

from collections.abc import Callable

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.keys.test_tenant_api_keys import (
    accepts,
    annotate,
    keys,
    told,
    write,
)
from tests.unit.relay_operator.reconcile.scenes import SPACE, until, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.cluster.key_secrets import decode
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.reconcile.work_queue import Key

CALL_SECONDS = 1.0
NOTICED_SECONDS = 1.0
PARTNERS = "key of the partner"
BOTH = [{"name": "web"}, {"name": "batch"}]
STEPS = [0.2, 1.1, 2.2]
"""Into a reconcile that reads the namespace, then the Secret of keys, then that of digests, for a second each."""


async def a_stage(**spec: object) -> tuple[Stage, Life]:
    """A tenant with two relay pods, one of which answers nothing."""
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, **({"apiKeys": BOTH} | spec))
    stage.pod("relay-2", ip="10.0.0.2")
    # two Secrets to read, one after the other: what was read of the first is old when the second is there
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of(PARTNERS))
    tenant = stage.server.stored("Tenant", "finance")
    named = [*tenant["spec"]["apiKeys"], {"name": "partner", "source": "Digest"}]
    stage.tenant(**(tenant["spec"] | {"apiKeys": named}))
    await until(stage, lambda: accepts(stage, PARTNERS))
    await stage.settle()
    return stage, life


async def a_slow_reconcile(stage: Stage, life: Life, into: float, *, silent: bool = True) -> None:
    """Begins a reconcile of the tenant whose calls take a second each, and goes that far into it."""
    if silent:
        stage.relays.silent.add("relay-2")
    life.api.failures.seconds = CALL_SECONDS
    life.queue.add(Key("Tenant", "", "finance"))
    await stage.settle(into)


async def stays_refused(stage: Stage, *taken: str, seconds: float) -> None:
    """Looks often for as long as the reconcile and the next ones take."""
    await stage.settle(seconds)
    for pause in [*[0.05] * 100, *[0.5] * 10]:
        for key in taken:
            assert not accepts(stage, key)
        await stage.settle(pause)


async def recovered(stage: Stage, life: Life) -> None:
    life.api.failures.seconds = 0.0
    stage.relays.silent.clear()
    await stage.settle(20.0)


def revoke(stage: Stage) -> str:
    annotate(stage, "revoke-keys", told(stage)["id"])
    return "web"


def remove_the_name(stage: Stage) -> str:
    stage.tenant(apiKeys=[{"name": "batch"}])
    return "web"


def remove_the_name_in_a_spec_that_is_refused(stage: Stage) -> str:
    stage.tenant(apiKeys=[{"name": "batch"}], queue={"maxWait": "soon"})
    return "web"


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("into", STEPS)
@pytest.mark.parametrize(
    "take", [revoke, remove_the_name, remove_the_name_in_a_spec_that_is_refused]
)
def test_what_the_tenant_says_of_a_key_counts_at_once(
    take: Callable[[Stage], str], into: float, silent: bool
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        before = dict(keys(stage))
        await a_slow_reconcile(stage, life, into, silent=silent)
        taken = before[take(stage)]
        await stays_refused(stage, taken, seconds=NOTICED_SECONDS)
        assert accepts(stage, before["batch"])
        await recovered(stage, life)
        for pod in ("relay-1", "relay-2"):
            assert not accepts(stage, taken, pod)
            assert accepts(stage, before["batch"], pod)

    play()


@pytest.mark.parametrize("into", STEPS)
def test_two_keys_taken_one_after_the_other_are_each_refused_within_a_second(into: float) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage(apiKeys=[*BOTH, {"name": "night"}])
        before = dict(keys(stage))
        await a_slow_reconcile(stage, life, into)
        stage.tenant(apiKeys=BOTH)
        await stage.settle(0.4)
        stage.tenant(apiKeys=[{"name": "batch"}])
        await stays_refused(stage, before["night"], before["web"], seconds=NOTICED_SECONDS)
        assert accepts(stage, before["batch"])

    play()


@pytest.mark.parametrize("into", STEPS)
@pytest.mark.parametrize("new", [None, "a-key-of-my-own"])
def test_an_entry_of_the_secret_that_goes_or_changes_is_refused_once_it_is_read(
    new: str | None, into: float
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        before = dict(keys(stage))
        await a_slow_reconcile(stage, life, into)
        write(stage, web=new)
        await stays_refused(stage, before["web"], seconds=CALL_SECONDS + NOTICED_SECONDS)
        assert accepts(stage, before["batch"])
        await recovered(stage, life)
        assert accepts(stage, keys(stage)["web"])
        assert new in (None, keys(stage)["web"])

    play()


@pytest.mark.parametrize("into", STEPS)
def test_a_secret_that_is_deleted_takes_its_keys_along(into: float) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        before = dict(keys(stage))
        await a_slow_reconcile(stage, life, into)
        stage.server.remove("Secret", names.API_KEYS_SECRET, namespace=SPACE)
        await stays_refused(stage, *before.values(), seconds=CALL_SECONDS + NOTICED_SECONDS)
        await recovered(stage, life)
        assert accepts(stage, keys(stage)["web"])

    play()


@pytest.mark.parametrize("into", STEPS)
@pytest.mark.parametrize("new", [None, digest_of("another key")])
def test_a_digest_that_the_platform_takes_back_is_refused_once_it_is_read(
    new: str | None, into: float
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        await a_slow_reconcile(stage, life, into)
        write(stage, names.KEY_DIGESTS_SECRET, partner=new)
        await stays_refused(stage, PARTNERS, seconds=CALL_SECONDS + NOTICED_SECONDS)
        await recovered(stage, life)
        assert accepts(stage, "another key") == (new is not None)

    play()


@in_virtual_time
async def test_an_entry_that_comes_back_is_accepted_again() -> None:
    for seconds in (0.0, 0.3, 0.7, 1.0, 1.3, 2.2, 4.5):
        stage, life = await a_stage()
        web = keys(stage)["web"]
        await a_slow_reconcile(stage, life, 1.1)
        write(stage, web="in-between-a-key")
        await stage.settle(seconds)
        write(stage, web=web)
        await recovered(stage, life)
        assert accepts(stage, web)
        assert not accepts(stage, "in-between-a-key")
        await life.end()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("into", STEPS)
def test_calls_of_a_tenant_that_is_suspended_are_refused(into: float, silent: bool) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        await a_slow_reconcile(stage, life, into, silent=silent)
        stage.tenant(apiKeys=BOTH, suspend=True)
        await stage.settle(NOTICED_SECONDS)
        for pause in [*[0.05] * 100, *[0.5] * 10]:
            assert is_suspended(stage)
            await stage.settle(pause)
        stage.tenant(apiKeys=BOTH)
        await recovered(stage, life)
        assert not is_suspended(stage)

    play()


def is_suspended(stage: Stage) -> bool:
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    return stage.relays.documents[uid].tenant.suspended


@pytest.mark.parametrize("into", STEPS)
def test_a_tenant_that_is_deleted_has_no_keys(into: float) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        before = dict(keys(stage))
        await a_slow_reconcile(stage, life, into)
        stage.server.remove("Tenant", "finance")
        await stays_refused(stage, *before.values(), seconds=NOTICED_SECONDS)

    play()


@pytest.mark.parametrize("into", STEPS)
def test_an_overlap_ends_and_is_cut_short_on_time(into: float) -> None:
    @in_virtual_time
    async def play() -> None:
        rotation = {"every": "10h", "overlap": "1h"}
        stage, life = await a_stage(keyRotation=rotation)
        previous = keys(stage)["web"]
        annotate(stage, "rotate-keys", told(stage)["id"])
        await until(stage, lambda: "web.previous" in keys(stage))
        await stage.settle(60.0)
        await a_slow_reconcile(stage, life, into)
        assert accepts(stage, previous)
        stage.tenant(apiKeys=BOTH, keyRotation=rotation | {"overlap": "1m"})
        await stays_refused(stage, previous, seconds=NOTICED_SECONDS)

    play()


@pytest.mark.parametrize("into", STEPS)
def test_an_overlap_ends_on_time(into: float) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage(keyRotation={"every": "10h", "overlap": "2m"})
        previous = keys(stage)["web"]
        annotate(stage, "rotate-keys", told(stage)["id"])
        await until(stage, lambda: "web.previous" in keys(stage))
        since = stage.clock.now
        await stage.settle(120.0 - into - 1.0)
        await a_slow_reconcile(stage, life, into)
        assert accepts(stage, previous)
        await stage.settle(since + 120.0 - stage.clock.now)
        await stays_refused(stage, previous, seconds=NOTICED_SECONDS)

    play()


@pytest.mark.parametrize("after", [0.05, 1.5, 3.1, 5.5, 8.8, 11.5])
def test_a_key_that_is_revoked_while_it_is_rotated_is_not_kept_as_the_previous_one(
    after: float,
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, life = await a_stage()
        leaked, token = keys(stage)["web"], told(stage)["id"]
        life.api.failures.seconds = CALL_SECONDS
        annotate(stage, "rotate-keys", token)
        await stage.settle(after)
        body = stage.server.stored("Tenant", "finance")
        asked = {names.ANNOTATION_ROTATE_KEYS: token, names.ANNOTATION_REVOKE_KEYS: token}
        stage.server.put(body | {"metadata": body["metadata"] | {"annotations": asked}})
        await stays_refused(stage, leaked, seconds=NOTICED_SECONDS)
        await recovered(stage, life)
        assert leaked not in keys(stage).values()
        assert accepts(stage, keys(stage)["web"])

    play()


@in_virtual_time
async def test_a_key_is_revoked_also_while_the_spec_is_refused() -> None:
    stage, _ = await a_stage()
    web = keys(stage)["web"]
    stage.tenant(apiKeys=BOTH, queue={"maxWait": "soon"})
    await stage.settle()
    annotate(stage, "revoke-keys", told(stage)["id"])
    await stays_refused(stage, web, seconds=NOTICED_SECONDS)
    assert keys(stage)["web"] != web
    assert accepts(stage, keys(stage)["web"])


@in_virtual_time
async def test_pods_that_answer_again_are_told_although_the_reconcile_goes_on() -> None:
    stage, life = await a_stage()
    web = keys(stage)["web"]
    await a_slow_reconcile(stage, life, 2.2)
    revoke(stage)
    await stage.settle(0.5)
    assert accepts(stage, web, "relay-2")
    stage.relays.silent.clear()
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, web, "relay-2")


@in_virtual_time
async def test_what_was_taken_away_is_stored_where_a_pod_that_starts_reads_it() -> None:
    stage, life = await a_stage()
    web = keys(stage)["web"]
    await a_slow_reconcile(stage, life, 2.2)
    revoke(stage)
    await recovered(stage, life)
    stored = stage.server.stored("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    assert digest_of(web) not in str(stored)
    assert (
        web
        not in decode(stage.server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE)).values()
    )
