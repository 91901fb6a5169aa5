"""TLS with callers: the Tenant tells what its Secret lacks, until when the last good certificate serves, and when all is well."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay_operator.certificates import DAY, other_key, pair
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.names import Reason

SPACE = "relay-finance"
SECONDS = 31
"""A tenant that waits for something is looked at in growing pauses, of half a minute at most."""
TLS = {"tls": {"secretName": "relay-tls"}}
Make = Callable[[Stage], dict[str, str]]


def put_secret(stage: Stage, data: dict[str, str], *, name: str = "relay-tls") -> None:
    stage.server.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": SPACE},
            "data": data,
        }
    )


def good(stage: Stage, *, days: float = 90) -> dict[str, str]:
    return pair(since=stage.clock.now - DAY, until=stage.clock.now + days * DAY)


def told(stage: Stage, type_: str = "CertificateReady") -> tuple[str, str, str]:
    found = stage.condition("Tenant", "finance", type_)
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def served(stage: Stage) -> str:
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    found = stage.relays.served.get(uid)
    return found.digest if found is not None else ""


async def a_tenant_that_waits(**spec: Any) -> tuple[Stage, Life]:
    """A tenant that asks for TLS; its pod is up and has no certificate, so it is not ready."""
    stage = Stage()
    stage.tenant(network=TLS, **spec)
    life = await stage.operator()
    await stage.settle()
    stage.pod(ready=False)
    await stage.settle()
    return stage, life


async def a_tenant_with_tls(*, days: float = 90) -> tuple[Stage, Life]:
    stage, life = await a_tenant_that_waits()
    put_secret(stage, good(stage, days=days))
    await stage.settle()
    stage.pod()
    await stage.settle()
    return stage, life


@in_virtual_time
async def test_a_tenant_whose_certificate_is_missing_is_not_ready_and_names_the_secret() -> None:
    stage, life = await a_tenant_that_waits()
    for type_ in ("Ready", "CertificateReady", "Reconciling"):
        status, reason, message = told(stage, type_)
        assert status == ("True" if type_ == "Reconciling" else "False")
        assert reason == Reason.CERTIFICATE_MISSING
        assert "there is no Secret relay-finance/relay-tls" in message
        assert "nobody is served, because nothing is sent without TLS" in message
    [document] = stage.relays.documents.values()
    assert document.tenant.client_tls
    await life.end()


@in_virtual_time
async def test_a_certificate_that_arrives_is_mounted_at_once_and_makes_the_tenant_ready() -> None:
    stage, life = await a_tenant_that_waits()
    put_secret(stage, good(stage))
    await stage.settle(SECONDS)
    assert served(stage)
    assert told(stage, "Ready")[1] == Reason.PROVISIONING
    stage.pod()
    await stage.settle(1)
    assert told(stage, "Ready")[:2] == ("True", Reason.AVAILABLE)
    status, reason, message = told(stage)
    assert (status, reason) == ("True", Reason.CERTIFICATE_SERVED)
    assert message.startswith(
        "1 of 1 relay pods serve the certificate of Secret relay-finance/relay-tls, valid until 2026-08-"
    )
    await life.end()


def garbage(stage: Stage) -> dict[str, str]:
    return {**good(stage), "tls.crt": "bm90IGEgY2VydGlmaWNhdGU="}


def mismatch(stage: Stage) -> dict[str, str]:
    return {**good(stage), "tls.key": other_key()}


def expired(stage: Stage) -> dict[str, str]:
    return good(stage, days=-0.5)


def empty(stage: Stage) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("bad", "reason", "why"),
    [
        (garbage, Reason.CERTIFICATE_INVALID, "tls.crt holds no certificate in PEM"),
        (mismatch, Reason.CERTIFICATE_INVALID, "tls.key is not the key of"),
        (expired, Reason.CERTIFICATE_EXPIRED, "expired at 2026-05-2"),
        (empty, Reason.CERTIFICATE_INVALID, "no entry tls.crt and no entry tls.key"),
    ],
)
@in_virtual_time
async def test_a_certificate_that_goes_bad_is_told_with_the_time_of_the_one_that_serves(
    bad: Make, reason: Reason, why: str
) -> None:
    stage, life = await a_tenant_with_tls()
    before = served(stage)
    put_secret(stage, bad(stage))
    await stage.settle(35)
    assert served(stage) == before
    for type_ in ("CertificateReady", "Ready", "Stalled"):
        status, found, message = told(stage, type_)
        assert (status, found) == ("True" if type_ == "Stalled" else "False", reason)
        assert why in message
        assert "1 of 1 relay pods go on with their last good certificate, valid until 2026-08" in (
            message
        )
    put_secret(stage, good(stage))
    await stage.settle(SECONDS)
    assert served(stage) not in ("", before)
    assert told(stage, "Ready")[:2] == ("True", Reason.AVAILABLE)
    assert told(stage, "Stalled")[0] == ""
    await life.end()


@in_virtual_time
async def test_a_secret_that_is_deleted_and_made_again_is_told_and_followed() -> None:
    stage, life = await a_tenant_with_tls()
    stage.server.remove("Secret", "relay-tls", namespace=SPACE)
    await stage.settle(35)
    status, reason, message = told(stage, "Ready")
    assert (status, reason) == ("False", Reason.CERTIFICATE_MISSING)
    assert "last good certificate, valid until 2026-08" in message
    put_secret(stage, good(stage))
    await stage.settle(SECONDS)
    assert told(stage, "Ready")[:2] == ("True", Reason.AVAILABLE)
    await life.end()


@in_virtual_time
async def test_a_renewal_is_mounted_within_half_a_minute_and_takes_nothing_from_ready() -> None:
    stage, life = await a_tenant_with_tls()
    before, since = served(stage), stage.condition("Tenant", "finance", "Ready")
    put_secret(stage, good(stage, days=180))
    for _ in range(35):
        await stage.settle(1)
        assert stage.condition("Tenant", "finance", "Ready") == since
    assert served(stage) not in ("", before)
    assert "2026-11" in told(stage)[2]
    await life.end()


@in_virtual_time
async def test_a_pod_whose_kubelet_looked_too_early_is_made_to_look_again() -> None:
    stage, life = await a_tenant_that_waits()
    put_secret(stage, good(stage))
    stage.relays.informed_from = stage.clock.now + 3
    await stage.settle(2.5)
    status, reason, message = told(stage)
    assert (status, reason) == ("False", Reason.CERTIFICATE_LOADING)
    assert "0 of 1 relay pods serve callers" in message
    await stage.settle(8)
    assert served(stage)
    await life.end()


@in_virtual_time
async def test_a_certificate_whose_renewal_is_overdue_is_told_before_it_expires() -> None:
    stage, life = await a_tenant_with_tls(days=14)
    status, reason, _ = told(stage)
    assert (status, reason) == ("True", Reason.CERTIFICATE_SERVED)
    stage.clock.now += 12 * DAY
    await stage.settle(601)
    status, reason, message = told(stage)
    assert (status, reason) == ("True", Reason.CERTIFICATE_EXPIRING)
    assert "valid until 2026-06-" in message
    assert "; its renewal is overdue" in message
    assert told(stage, "Ready")[0] == "True"
    stage.clock.now += 2 * DAY
    await stage.settle(601)
    status, reason, message = told(stage, "Ready")
    assert (status, reason) == ("False", Reason.CERTIFICATE_EXPIRED)
    assert "go on with their last good certificate, which expired at 2026-06-" in message
    await life.end()


@in_virtual_time
async def test_tls_asked_of_a_serving_tenant_reaches_its_pods_before_the_deployment() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    assert told(stage) == ("", "", "")
    stage.tenant(network=TLS)
    life.api.failures.statuses["Deployment"] = 422
    await stage.settle(1)
    assert stage.relays.documents[uid].tenant.client_tls
    life.api.failures.statuses.clear()
    stage.tenant()
    await stage.settle(35)
    assert not stage.relays.documents[uid].tenant.client_tls
    assert told(stage) == ("", "", "")
    assert told(stage, "Ready")[0] == "True"
    await life.end()


@in_virtual_time
async def test_another_secret_that_is_missing_is_told_although_pods_serve_the_first() -> None:
    stage, life = await a_tenant_with_tls()
    stage.tenant(network={"tls": {"secretName": "other"}})
    await stage.settle(3)
    status, reason, message = told(stage, "Ready")
    assert (status, reason) == ("False", Reason.CERTIFICATE_MISSING)
    assert "no Secret relay-finance/other" in message
    assert "last good certificate" in message
    await life.end()


@in_virtual_time
async def test_a_restarted_operator_tells_the_same_and_writes_nothing() -> None:
    stage, life = await a_tenant_with_tls()
    before = stage.status("Tenant", "finance")
    await life.end()
    life = await stage.operator()
    await stage.settle(40)
    assert stage.status("Tenant", "finance") == before
    assert life.changes == []
    await life.end()


@in_virtual_time
async def test_pods_are_asked_once_while_there_is_nothing_to_bring_them() -> None:
    stage, life = await a_tenant_with_tls()
    put_secret(stage, mismatch(stage))
    await stage.settle(40)
    pushes = stage.relays.pushes
    await stage.settle(20)
    assert stage.relays.pushes == pushes
    await life.end()


@in_virtual_time
async def test_the_private_key_is_in_no_status_and_no_event() -> None:
    stage, life = await a_tenant_with_tls()
    put_secret(stage, mismatch(stage))
    await stage.settle(35)
    assert "PRIVATE" not in str(stage.status("Tenant", "finance"))
    assert "PRIVATE" not in str(stage.server.list("Event"))
    await life.end()
