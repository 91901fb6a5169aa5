"""API keys from the Secret to the relays: rotated without a gap, revoked within a second, whatever fails meanwhile."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Manifest, Stage
from tests.unit.relay_operator.reconcile.scenes import SPACE, until, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.document import API_KEY_PREFIX
from relay_operator import names
from relay_operator.cluster.key_secrets import decode
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.decisions.api_keys.withdrawal import digests_in

HOUR = 3600.0
NOTICED_SECONDS = 1.0
WEB = [{"name": "web"}]


async def a_stage(**spec: Any) -> Stage:
    stage = Stage()
    await stage.operator()
    await with_a_tenant(stage, **({"apiKeys": WEB} | spec))
    return stage


def keys(stage: Stage) -> Mapping[str, str]:
    """Returns the keys as a client reads them."""
    return decode(stage.server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE))


def accepts(stage: Stage, key: str, pod: str = "relay-1") -> bool:
    """Tells whether a relay pod accepts the key."""
    uid = stage.server.stored("Pod", pod, namespace=SPACE)["metadata"]["uid"]
    return digest_of(key) in digests_in(stage.relays.documents[uid].tenant.keys)


def write(stage: Stage, secret: str = names.API_KEYS_SECRET, **entries: str | None) -> None:
    """Edits a Secret as a person with kubectl does; None takes an entry out."""
    stored = stage.server.get("Secret", secret, namespace=SPACE) or {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret, "namespace": SPACE},
    }
    data = dict(stored.get("data") or {})
    for entry, value in entries.items():
        data.pop(entry.replace("_", "."), None)
        if value is not None:
            data[entry.replace("_", ".")] = base64.b64encode(value.encode()).decode()
    stage.server.put(stored | {"data": data})


def annotate(stage: Stage, action: str, value: str) -> None:
    body = stage.server.stored("Tenant", "finance")
    annotations = {f"relay-operator.dev/{action}": value}
    stage.server.put(body | {"metadata": body["metadata"] | {"annotations": annotations}})


def told(stage: Stage, name: str = "web") -> Manifest:
    """Returns what status tells of a key."""
    entries: list[Manifest] = stage.status("Tenant", "finance")["keys"]
    return next(one for one in entries if one["name"] == name)


def credentials(stage: Stage) -> tuple[str, str, str]:
    found = stage.condition("Tenant", "finance", "CredentialsReady")
    return found["status"], found["reason"], found["message"]


@in_virtual_time
async def test_a_new_tenant_has_keys_of_its_own_with_the_time_of_their_making() -> None:
    stage = await a_stage()
    (key,) = keys(stage).values()
    assert key.startswith(f"{API_KEY_PREFIX}finance-")
    assert accepts(stage, key)
    assert told(stage)["id"] == f"web/{told(stage)['since']}"
    assert credentials(stage) == ("True", "Synced", "API keys and provider keys are in place")


@in_virtual_time
async def test_a_client_that_reads_the_secret_at_any_moment_has_a_key_that_every_pod_accepts() -> (
    None
):
    stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
    stage.pod("relay-2")
    await stage.settle()
    first = read = keys(stage)["web"]
    # slow to learn of the next key, as one that is busy
    stage.relays.seconds["relay-2"] = 1.0
    await stage.settle(HOUR - 60.0)
    for _ in range(500):
        await stage.settle(0.25)
        accepted = [accepts(stage, keys(stage)["web"], pod) for pod in ("relay-1", "relay-2")]
        assert accepted == [True, True]
        read = keys(stage)["web"]
    assert read != first
    assert stage.events().count("KeyRotated") == 1


@in_virtual_time
async def test_the_old_key_is_accepted_for_the_overlap_and_not_longer() -> None:
    stage = await a_stage(keyRotation={"every": "2h", "overlap": "10m"})
    first = keys(stage)["web"]
    await until_rotated(stage, first, step=60.0)
    assert keys(stage)["web.previous"] == first
    status, _, message = credentials(stage)
    assert status == "True"
    assert "web was rotated at" in message
    assert f"is accepted until {told(stage)['previousUntil']}" in message
    assert "the next rotation is that of web at" in message
    await stage.settle(9 * 60.0)
    assert accepts(stage, first)
    await stage.settle(60.0 + NOTICED_SECONDS)
    assert not accepts(stage, first)
    assert "web.previous" not in keys(stage)
    assert "previousUntil" not in told(stage)


async def until_rotated(stage: Stage, key: str, *, step: float = 1.0) -> None:
    for _ in range(200):
        if keys(stage)["web"] != key:
            return
        await stage.settle(step)
    raise AssertionError("not rotated")


@in_virtual_time
async def test_a_pod_that_does_not_learn_of_the_next_key_holds_the_rotation_up_and_is_told() -> (
    None
):
    stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
    stage.pod("relay-2")
    await stage.settle()
    first = keys(stage)["web"]
    stage.relays.silent.add("relay-2")
    await stage.settle(HOUR + 60)
    assert keys(stage) == {"web": first}
    message = credentials(stage)[2]
    assert "the rotation of web waits for relay pods to know the next key (1 of 2 do)" in message
    stage.relays.silent.clear()
    await stage.settle(30.0)
    assert keys(stage)["web.previous"] == first


@in_virtual_time
async def test_an_annotation_rotates_the_key_that_it_names_once() -> None:
    both = [{"name": "web"}, {"name": "batch"}]
    stage = await a_stage(apiKeys=both, keyRotation={"overlap": "1m"})
    before = dict(keys(stage))
    annotate(stage, "rotate-keys", told(stage)["id"])
    await stage.settle(3.0)
    after = keys(stage)
    assert after["web"] != before["web"]
    assert (after["web.previous"], after["batch"]) == (before["web"], before["batch"])
    await stage.settle(180.0)
    assert keys(stage) == {"web": after["web"], "batch": before["batch"]}
    # all at once, as status has them
    ids = " ".join(one["id"] for one in stage.status("Tenant", "finance")["keys"])
    annotate(stage, "rotate-keys", ids)
    await stage.settle(3.0)
    assert keys(stage).keys() == {"web", "batch", "web.previous", "batch.previous"}


@in_virtual_time
async def test_a_key_that_is_revoked_by_an_annotation_is_refused_within_a_second() -> None:
    stage = await a_stage()
    first = keys(stage)["web"]
    annotate(stage, "revoke-keys", told(stage)["id"])
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, first)
    assert accepts(stage, keys(stage)["web"])
    annotate(stage, "rotate-keys", told(stage)["id"])
    await stage.settle(3.0)
    previous = keys(stage)["web.previous"]
    annotate(stage, "revoke-keys", told(stage)["previousId"])
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, previous)
    assert "web.previous" not in keys(stage)


@pytest.mark.parametrize("kind", ["Secret", "NetworkPolicy", "Namespace", "ConfigMap"])
def test_a_key_is_refused_within_a_second_also_when_nothing_else_can_be_done(kind: str) -> None:
    @in_virtual_time
    async def play() -> None:
        stage = Stage()
        life = await stage.operator()
        await with_a_tenant(stage, apiKeys=[{"name": "web"}, {"name": "batch"}])
        first = dict(keys(stage))
        life.api.failures.statuses[kind] = 500
        annotate(stage, "revoke-keys", told(stage)["id"])
        await stage.settle(NOTICED_SECONDS)
        assert not accepts(stage, first["web"])
        assert accepts(stage, first["batch"])
        stage.tenant(apiKeys=WEB)
        await stage.settle(NOTICED_SECONDS)
        assert not accepts(stage, first["batch"])
        del life.api.failures.statuses[kind]
        await stage.settle(60.0)
        assert accepts(stage, keys(stage)["web"])

    play()


@in_virtual_time
async def test_a_rotation_is_made_up_for_after_an_outage_of_the_api_server_which_ends_no_overlap_late() -> (
    None
):
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=WEB, keyRotation={"every": "1h", "overlap": "10m"})
    first = keys(stage)["web"]
    life.api.failures.unreachable = True
    await stage.settle(HOUR + 300)
    assert keys(stage) == {"web": first}
    life.api.failures.unreachable = False
    await stage.settle(40.0)
    assert keys(stage)["web.previous"] == first
    life.api.failures.unreachable = True
    await stage.settle(610.0)
    assert not accepts(stage, first)
    assert accepts(stage, keys(stage)["web"])


@in_virtual_time
async def test_a_name_that_the_spec_no_longer_has_is_refused_at_once_even_if_the_spec_is_not_valid() -> (
    None
):
    stage = await a_stage(apiKeys=[{"name": "web"}, {"name": "batch"}])
    batch = keys(stage)["batch"]
    stage.tenant(apiKeys=WEB, queue={"maxWait": "soon"})
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, batch)
    assert accepts(stage, keys(stage)["web"])
    await stage.settle(120.0)
    assert not accepts(stage, batch)


@in_virtual_time
async def test_an_edit_of_the_secret_is_noticed_within_a_second() -> None:
    stage = await a_stage()
    first = keys(stage)["web"]
    write(stage, web="written-by-hand")
    await stage.settle(NOTICED_SECONDS)
    assert accepts(stage, "written-by-hand")
    assert not accepts(stage, first)
    write(stage, web=None)
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, "written-by-hand")
    assert accepts(stage, keys(stage)["web"])
    stage.server.remove("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    await stage.settle(NOTICED_SECONDS)
    assert accepts(stage, keys(stage)["web"])


@in_virtual_time
async def test_our_own_writes_and_what_was_seen_before_cost_no_further_look() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=WEB)
    await stage.settle(60.0)
    reads = life.api.reads
    annotate(stage, "rotate-keys", told(stage)["id"])
    await stage.settle(20.0)
    spent = life.api.reads - reads
    await life.end()
    assert spent < 40
    second = await stage.operator()
    await stage.settle(2.0)
    assert second.changes == []


@in_virtual_time
async def test_garbage_in_the_secret_is_replaced_and_told_and_harms_no_other_key() -> None:
    stage = await a_stage(apiKeys=[{"name": "web"}, {"name": "batch"}])
    before = dict(keys(stage))
    stored = stage.server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    stored["data"] |= {"web": "/////w==", "night": "eA=="}
    stored["metadata"]["annotations"] = {names.ANNOTATION_KEY_STAMPS: "{nonsense"}
    stage.server.put(stored)
    await stage.settle(NOTICED_SECONDS)
    after = keys(stage)
    assert after.keys() == {"web", "batch"}
    assert after["batch"] == before["batch"]
    assert after["web"].startswith(API_KEY_PREFIX)
    assert accepts(stage, after["web"])
    assert not accepts(stage, before["web"])
    assert "KeyReplaced" in stage.events()


@pytest.mark.parametrize(
    "value", ["", "short", "two words of a key", "ümläut-schlüssel", "x" * 600]
)
def test_what_nobody_could_send_is_no_key(value: str) -> None:
    @in_virtual_time
    async def play() -> None:
        stage = await a_stage()
        write(stage, web=value)
        await stage.settle(NOTICED_SECONDS)
        assert keys(stage)["web"].startswith(API_KEY_PREFIX)
        assert accepts(stage, keys(stage)["web"])

    play()


@in_virtual_time
async def test_the_line_end_of_an_editor_is_no_part_of_a_key() -> None:
    stage = await a_stage()
    write(stage, web="written-by-hand\n")
    await stage.settle(NOTICED_SECONDS)
    assert accepts(stage, "written-by-hand")
    assert keys(stage)["web"] == "written-by-hand"


async def with_a_brought_key() -> Stage:
    stage = await a_stage()
    stage.tenant(apiKeys=BROUGHT)
    await stage.settle()
    return stage


BROUGHT = [{"name": "web"}, {"name": "partner", "source": "Digest"}]


@in_virtual_time
async def test_a_key_that_the_platform_brings_is_known_by_its_digest_alone() -> None:
    stage = await with_a_brought_key()
    status, reason, message = credentials(stage)
    assert (status, reason) == ("False", "ApiKeyInvalid")
    assert "Secret relay-finance/relay-api-key-digests has no entry partner" in message
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == "ApiKeyInvalid"
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of("partner-key"))
    await stage.settle(NOTICED_SECONDS)
    assert accepts(stage, "partner-key")
    assert accepts(stage, keys(stage)["web"])
    await stage.settle(5.0)
    assert credentials(stage)[0] == "True"
    assert keys(stage).keys() == {"web"}
    assert told(stage, "partner") == {"name": "partner", "source": "Digest"}


@in_virtual_time
async def test_the_platform_rotates_and_revokes_what_it_brought() -> None:
    stage = await with_a_brought_key()
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of("first"))
    await stage.settle(NOTICED_SECONDS)
    both = {"partner": digest_of("second"), "partner_previous": digest_of("first")}
    write(stage, names.KEY_DIGESTS_SECRET, **both)
    await stage.settle(NOTICED_SECONDS)
    assert (accepts(stage, "first"), accepts(stage, "second")) == (True, True)
    write(stage, names.KEY_DIGESTS_SECRET, partner_previous=None)
    await stage.settle(NOTICED_SECONDS)
    assert (accepts(stage, "first"), accepts(stage, "second")) == (False, True)
    write(stage, names.KEY_DIGESTS_SECRET, partner="the key itself, by mistake")
    await stage.settle(5.0)
    assert accepts(stage, "second")
    assert (
        "is no SHA-256 of 64 hexadecimal digits, and the last digest stays" in credentials(stage)[2]
    )
    assert "by mistake" not in str(stage.everything()[("Tenant", "", "finance")])
    stage.server.remove("Secret", names.KEY_DIGESTS_SECRET, namespace=SPACE)
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, "second")


@in_virtual_time
async def test_a_digest_that_cannot_be_read_stays_in_force_over_the_operators_end() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=WEB)
    stage.tenant(apiKeys=BROUGHT)
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of("first"))
    await stage.settle()
    await life.end()
    write(stage, names.KEY_DIGESTS_SECRET, partner="nonsense")
    await stage.operator()
    await stage.settle()
    assert accepts(stage, "first")
    assert credentials(stage)[1] == "ApiKeyInvalid"


@in_virtual_time
async def test_two_names_never_share_a_key() -> None:
    stage = await a_stage(apiKeys=[{"name": "web"}, {"name": "batch"}])
    write(stage, batch=keys(stage)["web"])
    await stage.settle(5.0)
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    assert [key.name for key in stage.relays.documents[uid].tenant.keys] == ["web"]
    assert "API key batch is not in force: it is the same as web" in credentials(stage)[2]


@in_virtual_time
async def test_a_secret_that_somebody_made_immutable_keeps_its_keys_and_is_left_alone() -> None:
    stage = await a_stage(apiKeys=[{"name": "web"}, {"name": "batch"}])
    stored = stage.server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    stage.server.put(stored | {"immutable": True})
    before = dict(keys(stage))
    stage.tenant(apiKeys=[{"name": "web"}, {"name": "new"}])
    annotate(stage, "rotate-keys", told(stage)["id"])
    await stage.settle(5.0)
    status, reason, message = credentials(stage)
    assert (status, reason) == ("False", "SecretImmutable")
    assert "API key new cannot be added" in message
    assert "batch cannot be removed" in message
    assert before["batch"] not in message
    assert keys(stage) == before
    assert accepts(stage, before["web"])
    assert not accepts(stage, before["batch"])


@in_virtual_time
async def test_a_relay_of_an_earlier_version_holds_up_the_rotation_and_nothing_else() -> None:
    stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
    first = keys(stage)["web"]
    stage.relays.older.add("relay-1")
    await stage.settle(HOUR + 60)
    assert keys(stage) == {"web": first}
    stage.tenant(apiKeys=WEB, keyRotation={"every": "1h", "overlap": "10m"}, suspend=True)
    await stage.settle(NOTICED_SECONDS)
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    assert stage.relays.documents[uid].tenant.suspended


@in_virtual_time
async def test_no_key_stands_anywhere_but_in_its_secret() -> None:
    stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
    first = keys(stage)["web"]
    await until_rotated(stage, first, step=60.0)
    secret = ("Secret", SPACE, names.API_KEYS_SECRET)
    for key, one in stage.everything().items():
        if key != secret:
            assert not re.search(r"sk-relay-finance-[\w-]{20}", str(one)), key
    annotations = stage.server.stored(*secret[::2], namespace=SPACE)["metadata"]["annotations"]
    assert first[20:] not in str(annotations)


@in_virtual_time
async def test_a_tenant_made_again_inherits_no_key() -> None:
    stage = await a_stage()
    first = keys(stage)["web"]
    stage.server.remove("Tenant", "finance")
    await stage.settle()
    stage.server.collect_garbage()
    await stage.settle()
    await with_a_tenant(stage, apiKeys=WEB)
    await until(stage, lambda: "web" in keys(stage))
    assert keys(stage)["web"] != first
    assert not accepts(stage, first)
