"""What relays show providers reaches the tenants that use them, follows its Secret, and goes when nobody needs it."""

import base64
import logging
from typing import Any

import pytest
from tests.unit.relay_operator.certificates import DAY, other_key, pair
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.api.relay_route import Side, fingerprint
from relay_operator.names import Reason

SPACE = "relay-finance"
SHOWN: dict[str, Any] = {
    "clientCertificate": {"secretName": "cert"},
    "proxy": {"url": "http://10.1.2.3:3128", "auth": {"secretName": "proxy"}},
}
CERTIFICATE = {"legacy_tls.crt", "legacy_tls.key"}


def secret(stage: Stage, name: str, data: dict[str, str]) -> None:
    labels = {names.LABEL_PROVIDER: "legacy"}
    metadata = {"name": name, "namespace": SYSTEM, "labels": labels}
    stage.server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def a_pair(stage: Stage, *, days: float = 30) -> dict[str, str]:
    now = stage.clock()
    return pair(since=now - 60 * DAY, until=now + days * DAY)


def credentials(word: str) -> dict[str, str]:
    return {
        "username": base64.b64encode(b"user").decode(),
        "password": base64.b64encode(word.encode()).decode(),
    }


def handed(stage: Stage) -> dict[str, str]:
    """Returns the entries of the tenant's Secret, decoded."""
    found = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=SPACE)
    entries = found.get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in entries.items()}


def the_certificate(data: dict[str, str]) -> tuple[str, str]:
    return base64.b64decode(data["tls.crt"]).decode(), base64.b64decode(data["tls.key"]).decode()


def handed_certificate(stage: Stage) -> tuple[str, str]:
    found = handed(stage)
    return found["legacy_tls.crt"], found["legacy_tls.key"]


async def a_stage(**spec: Any) -> tuple[Stage, Life, dict[str, str]]:
    stage = Stage()
    data = a_pair(stage)
    secret(stage, "cert", data)
    secret(stage, "proxy", credentials("word"))
    stage.provider("legacy", **(spec or SHOWN))
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    return stage, life, data


@in_virtual_time
async def test_everything_reaches_the_tenant_and_the_status_says_until_when_it_holds() -> None:
    stage, life, data = await a_stage()
    assert handed_certificate(stage) == the_certificate(data)
    assert handed(stage)["legacy_proxy"] == "user:word"
    message = stage.condition("Provider", "legacy", "Ready")["message"]
    assert message.startswith("address and key are known; the client certificate is valid until 20")
    (document,) = stage.relays.documents.values()
    (served,) = document.catalogue.providers
    assert served.secret_files == (
        ("legacy",),
        ("legacy_proxy",),
        ("legacy_tls.crt", "legacy_tls.key"),
    )
    policy = stage.server.stored("NetworkPolicy", names.RELAY, namespace=SPACE)
    assert policy["spec"]["egress"][1] == {
        "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}],
        "ports": [{"protocol": "TCP", "port": 3128}],
    }
    await life.end()


@pytest.mark.parametrize("looked_at", [False, True], ids=["at once", "after a while"])
@in_virtual_time
async def test_a_renewed_certificate_is_handed_over_within_a_minute(looked_at: bool) -> None:
    stage, life, _ = await a_stage()
    await stage.settle(61 if looked_at else 1)
    new = a_pair(stage, days=90)
    secret(stage, "cert", new)
    secret(stage, "proxy", credentials("another"))
    await stage.settle(61)
    assert handed_certificate(stage) == the_certificate(new)
    assert handed(stage)["legacy_proxy"] == "user:another"
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    assert names.ANNOTATION_NUDGE in pod["metadata"]["annotations"]
    await life.end()


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ({"proxy": SHOWN["proxy"]}, {"legacy", "legacy_proxy"}),
        ({"clientCertificate": SHOWN["clientCertificate"]}, {"legacy", *CERTIFICATE}),
        ({"proxy": {"url": "http://10.1.2.3:3128"}}, {"legacy"}),
    ],
    ids=["certificate", "proxy", "credentials"],
)
@in_virtual_time
async def test_what_a_provider_is_not_to_be_shown_any_more_is_removed(
    gone: dict[str, Any], left: set[str]
) -> None:
    stage, life, _ = await a_stage()
    stage.provider("legacy", **gone)
    await stage.settle()
    assert set(handed(stage)) == left
    await life.end()


@in_virtual_time
async def test_what_no_route_uses_any_more_is_removed() -> None:
    stage, life, _ = await a_stage()
    new = stage.provider("new")["metadata"]["uid"]
    fingerprint_of_new = fingerprint(Side(provider="new"), provider_uid=new)
    jump = {names.ANNOTATION_ALLOW_JUMP: f"{fingerprint_of_new}/2"}
    stage.route(stable={"provider": "new"}, annotations=jump)
    await stage.settle()
    assert set(handed(stage)) == {"new"}
    await life.end()


def expired(stage: Stage, data: dict[str, str]) -> dict[str, str]:
    return a_pair(stage, days=-1)


def mismatched(stage: Stage, data: dict[str, str]) -> dict[str, str]:
    return data | {"tls.key": other_key()}


def garbage(stage: Stage, data: dict[str, str]) -> dict[str, str]:
    text = base64.b64encode(b"planted-nobody-may-log").decode()
    return {"tls.crt": text, "tls.key": text}


def half(stage: Stage, data: dict[str, str]) -> dict[str, str]:
    return {"tls.crt": a_pair(stage)["tls.crt"]}


@pytest.mark.parametrize("restarts", [False, True], ids=["alive", "restarted"])
@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        (expired, Reason.CERTIFICATE_EXPIRED),
        (mismatched, Reason.CERTIFICATE_INVALID),
        (garbage, Reason.CERTIFICATE_INVALID),
        (half, Reason.CERTIFICATE_INVALID),
        (None, Reason.SECRET_MISSING),
    ],
)
@in_virtual_time
async def test_a_certificate_that_goes_bad_leaves_the_last_good_pair_and_says_so(
    worse: Any, reason: Reason, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage, life, data = await a_stage()
    await stage.settle(61)
    if restarts:
        await life.end()
    if worse is None:
        stage.server.remove("Secret", "cert", namespace=SYSTEM)
    else:
        secret(stage, "cert", worse(stage, data))
    if restarts:
        life = await stage.operator()
    await stage.settle(61)
    assert handed_certificate(stage) == the_certificate(data)
    ready = stage.condition("Provider", "legacy", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert stage.condition("Provider", "legacy", "Stalled")["status"] == "True"
    assert ready["message"].endswith(
        "; relays go on with the last client certificate that they were given, if any; "
        "Tenants with routes to it: finance"
    )
    ready = stage.condition("Tenant", "finance", "CredentialsReady")
    assert ready["message"].endswith("in force: the last client certificate stays in use")
    assert stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["status"] == "True"
    told = str(stage.everything()["Provider", "", "legacy"]) + caplog.text
    assert "planted-nobody-may-log" not in told
    secret(stage, "cert", data)
    await stage.settle(61)
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_certificate_that_expires_is_told_at_once() -> None:
    stage, life, _ = await a_stage()
    secret(stage, "cert", a_pair(stage, days=700 / DAY))
    await stage.settle(690)
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    await stage.settle(20)
    assert stage.condition("Provider", "legacy", "Ready")["reason"] == Reason.CERTIFICATE_EXPIRED
    await life.end()


@in_virtual_time
async def test_a_provider_whose_certificate_was_never_good_gets_no_calls() -> None:
    stage = Stage()
    secret(stage, "cert", garbage(stage, {}))
    stage.provider("legacy", clientCertificate={"secretName": "cert"})
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    assert set(handed(stage)) == {"legacy"}
    waiting = stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert (waiting["status"], waiting["reason"]) == ("False", Reason.SECRET_MISSING)
    secret(stage, "cert", a_pair(stage))
    await stage.settle()
    assert stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_certificate_of_a_deleted_provider_stays_while_a_route_in_force_uses_it() -> None:
    stage, life, _ = await a_stage()
    before = handed(stage)
    stage.server.remove("Provider", "legacy")
    await stage.settle(31)
    assert handed(stage) == before
    await life.end()


@in_virtual_time
async def test_a_rotated_key_reaches_the_relays_within_seconds_and_the_kubelet_is_asked_twice() -> (
    None
):
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.route()
    await stage.settle()

    await stage.settle(20)
    before = mark_of(stage)
    stage.secret("legacy-key", value=base64.b64encode(b"rotated").decode())
    await stage.settle(1)
    assert handed(stage)["legacy"] == "rotated"
    first = mark_of(stage)
    assert first not in ("", before)
    await stage.settle(5)
    assert mark_of(stage) == f"{first}.again"
    writes = len(life.api.writes)
    await stage.settle(20)
    assert [one.key for one in life.api.writes[writes:] if one.key[0] == "Pod"] == []
    await life.end()


@in_virtual_time
async def test_keys_that_all_went_while_no_operator_ran_leave_the_pods_at_once() -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.route()
    await stage.settle(20)
    assert handed(stage) == {"legacy": "key"}
    await life.end()
    before = mark_of(stage)
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    life = await stage.operator()
    await stage.settle(1)
    assert handed(stage) == {}
    assert mark_of(stage) != before
    await life.end()


def mark_of(stage: Stage) -> str:
    """Returns by what the kubelet of a relay's pod was last made to look."""
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    return str(pod["metadata"].get("annotations", {}).get(names.ANNOTATION_NUDGE, ""))


@in_virtual_time
async def test_a_secret_that_is_not_labelled_for_the_provider_is_sent_nowhere() -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.provider("thief", key=False, auth={"secretName": "legacy-key"})
    stage.route(stable={"provider": "thief"})
    await stage.settle()
    assert handed(stage) == {}
    found = stage.condition("Provider", "thief", "Ready")
    assert found["reason"] == "SecretMissing"
    # whether there is such a Secret is nothing to the author of a Provider
    stage.provider("guess", key=False, auth={"secretName": "no-such-key"})
    await stage.settle()
    guess = stage.condition("Provider", "guess", "Ready")["message"]
    assert guess.replace("guess", "thief").replace("no-such-key", "legacy-key") in found["message"]
    # several Providers may share a Secret whose label names them all
    secret = stage.server.stored("Secret", "legacy-key", namespace=SYSTEM)
    secret["metadata"]["labels"][names.LABEL_PROVIDER] = "legacy_thief"
    stage.server.put(secret)
    await stage.settle()
    assert set(handed(stage)) == {"thief"}
    assert stage.condition("Provider", "thief", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_secrets_without_the_label_are_not_watched() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await stage.operator()
    await stage.settle(35)
    reads = life.api.reads
    metadata = {"name": "something-else", "namespace": SYSTEM}
    stage.server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}})
    await stage.settle(2)
    assert life.api.reads == reads
    await life.end()


@in_virtual_time
async def test_a_look_at_a_tenant_reads_no_secret_of_a_provider_that_was_read_already() -> None:
    _, life, _ = await a_stage(**SHOWN)
    # nobody else reads from here on
    await life.end()
    reads = []
    for is_read in (True, False):
        if not is_read:
            life.watched_state.shown_secrets.forget("legacy")
        before = life.api.reads_of["Secret"]
        await life.workers._tenants.reconcile("finance")
        reads.append(life.api.reads_of["Secret"] - before)
    # the key, the certificate and the credentials of the proxy; what watches follow, its API keys and what its relays show, never
    assert reads == [0, 3]
