"""Tenants: everything they own is brought about in order, and their conditions tell the truth when it is not."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.names import Reason

SPACE = "relay-finance"


def ready(stage: Stage) -> tuple[str, str]:
    found = stage.condition("Tenant", "finance", "Ready")
    return found.get("status", ""), found.get("reason", "")


async def a_serving_tenant(**spec: Any) -> tuple[Stage, Life]:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant(**spec)
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    return stage, life


@in_virtual_time
async def test_a_tenant_gets_its_objects_in_order_and_becomes_ready() -> None:
    stage, life = await a_serving_tenant()
    assert ready(stage) == ("True", Reason.AVAILABLE)
    kinds = [kind for kind, _ in life.changes]
    # the first write to the Tenant is the finalizer: before there is a key to be revoked
    order = ["Namespace", "RoleBinding", "Tenant", "NetworkPolicy", "ConfigMap", "Deployment"]
    assert sorted(order, key=kinds.index) == order
    assert kinds[-1] == "Tenant"
    status = stage.status("Tenant", "finance")
    assert status["relay"]["summary"] == "1/1"
    assert status["endpoint"] == "http://relay.relay-finance.svc:8080/v1"
    await life.end()


@in_virtual_time
async def test_the_relays_serve_the_tenants_keys_and_its_providers() -> None:
    stage, life = await a_serving_tenant(apiKeys=[{"name": "web"}, {"name": "batch"}])
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    served = stage.relays.documents[pod["metadata"]["uid"]]
    assert [key.name for key in served.tenant.keys] == ["web", "batch"]
    assert [provider.name for provider in served.catalogue.providers] == ["legacy"]
    secret = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=SPACE)
    assert set(secret["data"]) == {"legacy"}
    await life.end()


@in_virtual_time
async def test_a_suspended_tenant_stays_ready_and_its_relays_learn_of_it() -> None:
    stage, life = await a_serving_tenant(suspend=True)
    assert ready(stage) == ("True", Reason.SUSPENDED)
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    assert stage.relays.documents[pod["metadata"]["uid"]].tenant.suspended
    await life.end()


@in_virtual_time
async def test_a_pod_that_does_not_answer_keeps_the_tenant_from_ready_until_it_does() -> None:
    stage = Stage()
    stage.tenant()
    stage.relays.silent.add("relay-1")
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    assert ready(stage) == ("False", Reason.WAITING_FOR_PODS)
    stage.relays.silent.clear()
    await stage.settle()
    assert ready(stage) == ("True", Reason.AVAILABLE)
    await life.end()


@in_virtual_time
async def test_a_spec_that_cannot_be_read_stalls_the_tenant_and_creates_nothing() -> None:
    stage = Stage()
    stage.tenant(queue={"maxWait": "soon"})
    life = await stage.operator()
    await stage.settle()
    assert ready(stage) == ("False", Reason.INVALID_SPEC)
    assert stage.condition("Tenant", "finance", "Stalled")["status"] == "True"
    assert "queue.maxWait" in stage.condition("Tenant", "finance", "Ready")["message"]
    assert stage.server.get("Namespace", SPACE) is None
    await life.end()


@in_virtual_time
async def test_a_namespace_of_somebody_else_is_never_touched_and_used_once_it_is_free() -> None:
    stage = Stage()
    foreign = stage.server.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    )
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    assert ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    assert stage.server.stored("Namespace", SPACE) == foreign
    stage.server.remove("Namespace", SPACE)
    await stage.settle(11)
    assert ready(stage) == ("False", Reason.NAMESPACE_TERMINATING)
    assert stage.condition("Tenant", "finance", "Reconciling")["status"] == "True"
    stage.server.collect_garbage()
    await stage.settle(11)
    assert ready(stage) == ("False", Reason.PROVISIONING)
    assert stage.server.get("Namespace", SPACE) is not None
    await life.end()


@pytest.mark.parametrize("kind", ["NetworkPolicy", "ConfigMap", "Deployment", "Secret"])
@in_virtual_time
async def test_a_child_that_the_api_server_refuses_takes_ready_and_is_tried_again(
    kind: str,
) -> None:
    stage, life = await a_serving_tenant()
    life.api.failures.statuses[kind] = 422
    stage.tenant(relay={"replicas": 1, "resources": {"limits": {"memory": "1Gi"}}}, suspend=True)
    stage.provider("new")
    stage.route(fallback=[{"provider": "new"}])
    await stage.settle()
    found = stage.condition("Tenant", "finance", "Ready")
    assert (found["status"], found["reason"]) == ("False", Reason.API_SERVER_REFUSED)
    assert f"{kind}: 422 injected" in found["message"]
    assert stage.condition("Tenant", "finance", "Stalled")["status"] == "True"
    assert stage.condition("Tenant", "finance", "RelayAvailable")["status"] == "True"
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert ready(stage) == ("True", Reason.SUSPENDED)
    assert stage.condition("Tenant", "finance", "Stalled") == {}
    await life.end()


@in_virtual_time
async def test_a_namespace_that_cannot_be_read_is_not_said_to_be_owned() -> None:
    stage = Stage()
    stage.tenant()
    life = stage.life()
    life.api.failures.statuses["Namespace"] = 403
    await life.start()
    await stage.settle()
    assert ready(stage) == ("False", Reason.API_SERVER_REFUSED)
    assert stage.condition("Tenant", "finance", "NamespaceReady")["status"] == "Unknown"
    await life.end()


@in_virtual_time
async def test_an_unavailable_api_server_takes_no_ready_from_a_spec_in_force() -> None:
    stage, life = await a_serving_tenant()
    life.api.failures.statuses["NetworkPolicy"] = 503
    stage.provider("new")
    stage.route(fallback=[{"provider": "new"}])
    await stage.settle()
    assert ready(stage) == ("True", Reason.AVAILABLE)
    found = stage.condition("Tenant", "finance", "Reconciling")
    assert (found["status"], found["reason"]) == ("True", Reason.API_SERVER_UNAVAILABLE)
    assert "503 injected" in found["message"]
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert stage.condition("Tenant", "finance", "Reconciling") == {}
    await life.end()


@in_virtual_time
async def test_an_unavailable_api_server_keeps_ready_from_a_new_spec() -> None:
    stage, life = await a_serving_tenant()
    life.api.failures.statuses["Deployment"] = 503
    stage.tenant(relay={"replicas": 1, "resources": {"limits": {"memory": "1Gi"}}})
    await stage.settle(20)
    assert ready(stage) == ("False", Reason.API_SERVER_UNAVAILABLE)
    assert stage.condition("Tenant", "finance", "Stalled") == {}
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert ready(stage) == ("True", Reason.AVAILABLE)
    await life.end()


@in_virtual_time
async def test_an_api_server_that_refuses_status_as_well_is_tried_again() -> None:
    stage, life = await a_serving_tenant()
    before = stage.status("Tenant", "finance")
    life.api.failures.unreachable = True
    stage.tenant(suspend=True)
    await stage.settle()
    assert stage.status("Tenant", "finance") == before
    life.api.failures.unreachable = False
    await stage.settle(60)
    assert ready(stage) == ("True", Reason.SUSPENDED)
    await life.end()


@in_virtual_time
async def test_a_role_binding_that_takes_effect_late_is_waited_for() -> None:
    stage = Stage()
    stage.tenant()
    life = stage.life()
    life.api.failures.statuses["Secret"] = 403
    await life.start()
    await stage.settle(0.5)
    life.api.failures.statuses.clear()
    await stage.settle(0.5)
    assert stage.server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE) is not None
    assert ready(stage) == ("False", Reason.PROVISIONING)
    await life.end()


@in_virtual_time
async def test_a_missing_provider_key_is_named_and_taken_once_it_is_there() -> None:
    stage, life = await a_serving_tenant()
    stage.provider("new", key=False)
    stage.route(fallback=[{"provider": "new"}])
    await stage.settle()
    assert ready(stage) == ("False", Reason.SECRET_MISSING)
    assert (
        "there is no Secret relay-system/new-key with the label relay-operator.dev/provider=new; "
        "create it with the entry api-key, or label it"
        in stage.condition("Tenant", "finance", "Ready")["message"]
    )
    waiting = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert waiting["message"] == (
        "waiting for the key of a provider: there is no Secret relay-system/new-key with the label relay-operator.dev/provider=new; "
        "create it with the entry api-key, or label it; "
        "in force stays the last valid spec, with all calls on legacy"
    )
    stage.secret("new-key")
    await stage.settle()
    assert ready(stage) == ("True", Reason.AVAILABLE)
    assert stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_provider_key_that_is_no_text_is_named_and_stops_no_tenant_unheard() -> None:
    stage, life = await a_serving_tenant()
    stage.secret("legacy-key", value="/w==")
    stage.tenant(suspend=True)
    await stage.settle()
    assert ready(stage) == ("False", Reason.SECRET_MISSING)
    assert stage.condition("Tenant", "finance", "Ready")["message"] == (
        "entry api-key of Secret relay-system/legacy-key is not UTF-8 text; "
        "route chat that uses it is in force: the last key stays in use"
    )
    await life.end()


@in_virtual_time
async def test_a_new_key_makes_the_kubelet_refresh_the_pods_mounts() -> None:
    stage, life = await a_serving_tenant()
    before = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["annotations"]
    stage.secret("legacy-key", value="bmV3")
    stage.tenant(suspend=True)
    await stage.settle()
    after = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["annotations"]
    assert before[names.ANNOTATION_NUDGE] != after[names.ANNOTATION_NUDGE]
    await life.end()


@pytest.mark.parametrize(("status", "fails"), [(404, False), (403, True)], ids=["gone", "refused"])
@in_virtual_time
async def test_a_pod_that_went_meanwhile_needs_no_refresh(
    status: int, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage, life = await a_serving_tenant()
    life.api.failures.statuses["Pod"] = status
    stage.secret("legacy-key", value="bmV3")
    stage.tenant(queue={"concurrency": 3})
    await stage.settle(0.15)
    assert ("reconcile failed, will retry" in caplog.messages) is fails
    secret = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=SPACE)
    assert secret["data"] == {"legacy": "bmV3"}
    await life.end()


@in_virtual_time
async def test_a_tenant_made_again_under_its_name_starts_without_the_old_document() -> None:
    stage, life = await a_serving_tenant()
    stage.server.remove("Tenant", "finance")
    await stage.settle(0.5)
    assert life.publisher.publication(SPACE) is None
    stage.server.collect_garbage()
    stage.server.collect_garbage()
    stage.tenant()
    await stage.settle(11)
    publication = life.publisher.publication(SPACE)
    assert publication is not None
    assert publication.fragments == {}
    assert (
        publication.tenant.metadata.uid
        == stage.server.stored("Tenant", "finance")["metadata"]["uid"]
    )
    await life.end()


@in_virtual_time
async def test_limits_are_shared_by_the_pods_that_serve() -> None:
    stage, life = await a_serving_tenant(relay={"replicas": 2})
    assert ready(stage) == ("False", Reason.PROVISIONING)
    stage.pod("relay-2")
    await stage.settle()
    assert ready(stage) == ("True", Reason.AVAILABLE)
    uid = stage.server.stored("Pod", "relay-2", namespace=SPACE)["metadata"]["uid"]
    assert stage.relays.documents[uid].tenant.replicas == 2
    await life.end()


@in_virtual_time
async def test_a_limit_below_the_default_request_is_told_by_the_tenant() -> None:
    stage, life = await a_serving_tenant()
    stage.tenant(relay={"resources": {"limits": {"memory": "64Mi"}}})
    await stage.settle()
    found = stage.condition("Tenant", "finance", "Ready")
    assert (found["status"], found["reason"]) == ("False", Reason.INVALID_SPEC)
    assert "requests.memory of 96Mi (the default) is above" in found["message"]
    stored = stage.server.stored("Tenant", "finance")
    assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]
    [event] = [one for one in stage.server.list("Event") if one["reason"] == "InvalidSpec"]
    assert (event["type"], event["involvedObject"]["kind"]) == ("Warning", "Tenant")
    assert event["message"] == found["message"]
    await life.end()


@in_virtual_time
async def test_what_the_api_server_refuses_is_posted_once_in_its_words() -> None:
    stage, life = await a_serving_tenant()
    life.api.failures.statuses["Deployment"] = 422
    stage.tenant(relay={"replicas": 2})
    await stage.settle(120)
    refusals = [one for one in stage.server.list("Event") if one["reason"] == "ApiServerRefused"]
    assert len(refusals) == 1
    assert "Deployment: 422 injected" in refusals[0]["message"]
    await life.end()


@in_virtual_time
async def test_api_keys_in_a_secret_that_somebody_made_immutable_stay_and_others_are_told_of() -> (
    None
):
    stage, life = await a_serving_tenant(apiKeys=[{"name": "web"}, {"name": "batch"}])

    def secret() -> dict[str, Any]:
        return stage.server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)

    before = secret()
    stage.server.put(before | {"immutable": True})
    await stage.settle(40)
    assert ready(stage) == ("True", Reason.AVAILABLE)

    stage.tenant(apiKeys=[{"name": "web"}, {"name": "new"}])
    await stage.settle()
    assert ready(stage) == ("False", Reason.SECRET_IMMUTABLE)
    told = stage.condition("Tenant", "finance", "CredentialsReady")
    assert (told["status"], told["reason"]) == ("False", Reason.SECRET_IMMUTABLE)
    assert "Secret relay-finance/relay-api-keys is immutable" in told["message"]
    assert (secret()["metadata"]["uid"], secret()["data"]) == (
        before["metadata"]["uid"],
        before["data"],
    )
    [served] = stage.relays.documents.values()
    assert [key.name for key in served.tenant.keys] == ["web"]

    stage.server.remove("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    metadata = {name: before["metadata"][name] for name in ("name", "namespace", "labels")}
    stage.server.put(before | {"metadata": metadata})
    await stage.settle(40)
    assert ready(stage) == ("True", Reason.AVAILABLE)
    assert secret()["data"]["web"] == before["data"]["web"]
    assert set(secret()["data"]) == {"web", "new"}
    await life.end()
