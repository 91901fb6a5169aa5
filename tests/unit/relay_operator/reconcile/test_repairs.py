"""What somebody deletes, changes or adds among a tenant's objects is undone, whether the operator runs or not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import endpoints, seal
from relay_operator import names
from relay_operator.names import Reason

SPACE = "relay-finance"
Manifest = dict[str, Any]
Edit = Callable[[Manifest], None]

CHILDREN = [
    ("RoleBinding", "relay-operator"),
    ("NetworkPolicy", "default-deny"),
    ("NetworkPolicy", "relay"),
    ("ServiceAccount", "relay"),
    ("ConfigMap", "relay-document"),
    ("Service", "relay"),
    ("Deployment", "relay"),
    ("PodDisruptionBudget", "relay"),
    ("ResourceQuota", "relay"),
    ("LimitRange", "relay"),
]
SECRETS = [("Secret", "relay-upstream"), ("Secret", "relay-api-keys")]


def opened(body: Manifest) -> None:
    body["spec"]["ingress"] = [{}]


def scaled(body: Manifest) -> None:
    body["spec"]["replicas"] = 7


def with_a_container(body: Manifest) -> None:
    body["spec"]["template"]["spec"]["containers"].append({"name": "evil", "image": "evil"})


def with_a_variable(body: Manifest) -> None:
    [container] = body["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "HTTPS_PROXY", "value": "evil"})


def with_another_image(body: Manifest) -> None:
    [container] = body["spec"]["template"]["spec"]["containers"]
    container["image"] = "evil"


def without_a_probe(body: Manifest) -> None:
    [container] = body["spec"]["template"]["spec"]["containers"]
    del container["livenessProbe"]


def on_the_host(body: Manifest) -> None:
    body["spec"]["template"]["spec"]["hostNetwork"] = True


def on_another_port(body: Manifest) -> None:
    body["spec"]["ports"][0]["port"] = 9999


def with_another_port(body: Manifest) -> None:
    body["spec"]["ports"].append({"name": "admin", "protocol": "TCP", "port": 8081})


def selecting_others(body: Manifest) -> None:
    body["spec"]["selector"] = {"app": "evil"}


def with_an_address(body: Manifest) -> None:
    body["spec"]["externalIPs"] = ["192.0.2.1"]


def never_evicted(body: Manifest) -> None:
    body["spec"]["maxUnavailable"] = 0


def for_somebody_else(body: Manifest) -> None:
    body["subjects"].append({"kind": "ServiceAccount", "name": "evil", "namespace": "evil"})


def with_a_token(body: Manifest) -> None:
    body["automountServiceAccountToken"] = True


def forged(body: Manifest) -> None:
    body["data"] = {"relay.json": "{}"}


def with_an_entry(body: Manifest) -> None:
    body["data"]["evil"] = "ZXZpbA=="


def sealed_for_ever(body: Manifest) -> None:
    forged(body)
    body["immutable"] = True


def emptied(body: Manifest) -> None:
    del body["data"]


def without_labels(body: Manifest) -> None:
    for label in (names.LABEL_MANAGED_BY, names.LABEL_TENANT):
        del body["metadata"]["labels"][label]


def privileged(body: Manifest) -> None:
    body["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"


def of_nobody(body: Manifest) -> None:
    # the stamp beside it is worth nothing once the Tenant's status names the namespace
    del body["metadata"]["annotations"][names.ANNOTATION_TENANT_UID]


def of_another(body: Manifest) -> None:
    body["metadata"]["annotations"][names.ANNOTATION_TENANT_UID] = "evil"


def without_an_owner(body: Manifest) -> None:
    del body["metadata"]["ownerReferences"]


def paused(body: Manifest) -> None:
    body["spec"]["paused"] = True


EDITS: list[tuple[str, str, Edit]] = [
    ("NetworkPolicy", "default-deny", opened),
    ("NetworkPolicy", "relay", opened),
    ("NetworkPolicy", "relay", without_labels),
    ("Deployment", "relay", scaled),
    ("Deployment", "relay", with_a_container),
    ("Deployment", "relay", with_a_variable),
    ("Deployment", "relay", with_another_image),
    ("Deployment", "relay", without_a_probe),
    ("Deployment", "relay", on_the_host),
    ("Service", "relay", on_another_port),
    ("Service", "relay", with_another_port),
    ("Service", "relay", selecting_others),
    ("Service", "relay", with_an_address),
    ("PodDisruptionBudget", "relay", never_evicted),
    ("RoleBinding", "relay-operator", for_somebody_else),
    ("ServiceAccount", "relay", with_a_token),
    ("ConfigMap", "relay-document", forged),
    ("ConfigMap", "relay-document", with_an_entry),
    ("ConfigMap", "relay-document", sealed_for_ever),
    ("ConfigMap", "relay-document", emptied),
    ("Namespace", SPACE, privileged),
    ("Namespace", SPACE, without_labels),
    ("Namespace", SPACE, of_nobody),
    ("Namespace", SPACE, of_another),
    ("Namespace", SPACE, without_an_owner),
    ("Deployment", "relay", paused),
]
SECRET_EDITS: list[tuple[str, str, Edit]] = [
    ("Secret", "relay-upstream", with_an_entry),
    ("Secret", "relay-upstream", emptied),
    ("Secret", "relay-upstream", sealed_for_ever),
]


def label(value: Any) -> str:
    return getattr(value, "__name__", str(value))


async def a_stage() -> tuple[Stage, Life]:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.route()
    # until the kubelet was asked again to mount the key, and the provider was probed
    await stage.settle(20)
    return stage, life


def found(stage: Stage, kind: str, name: str) -> Manifest:
    """Returns a child without what tells its history."""
    home = "" if kind == "Namespace" else SPACE
    body = stage.server.stored(kind, name, namespace=home)
    for field in ("uid", "creationTimestamp", "generation", "resourceVersion"):
        body["metadata"].pop(field, None)
    if kind == "ConfigMap":
        # a document that was lost is composed anew, with another generation and leader, and so another signature
        sealed = body["data"][endpoints.DOCUMENT_KEY]
        body["data"][endpoints.DOCUMENT_KEY] = _content_of(sealed)
    return body


def _content_of(sealed: str) -> Manifest:
    document, _ = seal.unseal(sealed, [SIGNING_KEY.public_key()])
    return document.model_dump(exclude={"generation", "epoch"})


def edit(stage: Stage, kind: str, name: str, change: Edit) -> None:
    home = "" if kind == "Namespace" else SPACE
    body = copy.deepcopy(stage.server.stored(kind, name, namespace=home))
    change(body)
    stage.server.put(body, manager="kubectl-edit")


def restored(stage: Stage) -> list[str]:
    """Returns what Events say was restored."""
    return [
        event["message"]
        for event in stage.server.list("Event")
        if event["reason"] == Reason.RESTORED
    ]


@pytest.mark.parametrize(("kind", "name"), CHILDREN)
@in_virtual_time
async def test_a_deleted_child_is_created_again_within_two_seconds(kind: str, name: str) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    stage.server.remove(kind, name, namespace=SPACE)
    await stage.settle(2)
    assert found(stage, kind, name) == before
    assert restored(stage) == [f"{kind} {SPACE}/{name} had been deleted and was created again"]
    await life.end()


@pytest.mark.parametrize(("kind", "name"), [*CHILDREN, *SECRETS])
@in_virtual_time
async def test_a_child_deleted_while_the_operator_was_down_is_created_again(
    kind: str, name: str
) -> None:
    stage, life = await a_stage()
    await life.end()
    stage.server.remove(kind, name, namespace=SPACE)
    if kind == "Deployment":
        stage.server.remove("Pod", "relay-1", namespace=SPACE)
    life = await stage.operator()
    await stage.settle(2)
    assert stage.server.get(kind, name, namespace=SPACE) is not None
    served = "False" if kind == "Deployment" else "True"
    assert stage.condition("Tenant", "finance", "Ready")["status"] == served
    [note] = restored(stage)
    assert note.startswith(f"{kind} {SPACE}/{name} had been deleted and was created again")
    await life.end()


@pytest.mark.parametrize(("kind", "name", "change"), EDITS, ids=label)
@in_virtual_time
async def test_an_edit_is_undone_within_two_seconds(kind: str, name: str, change: Edit) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    edit(stage, kind, name, change)
    await stage.settle(2)
    assert found(stage, kind, name) == before
    [note] = restored(stage)
    assert f"{kind} " in note
    if change is sealed_for_ever:
        how = "had been changed by field manager kubectl-edit in a way that can only be undone by another object"
        assert f"{how}, and was replaced" in note
    await life.end()


UNUSABLE: Manifest = {"queue": {"maxWait": "soon"}}


@pytest.mark.parametrize("meanwhile", ["running", "down"])
@pytest.mark.parametrize(("kind", "name"), [*CHILDREN, *SECRETS])
@in_virtual_time
async def test_a_child_of_a_tenant_whose_spec_cannot_be_used_is_created_again(
    kind: str, name: str, meanwhile: str
) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    stage.tenant(**UNUSABLE)
    await stage.settle(2)
    if meanwhile == "down":
        await life.end()
    stage.server.remove(kind, name, namespace=SPACE)
    if meanwhile == "down":
        life = await stage.operator()
    # Secrets are not watched
    await stage.settle(32 if kind == "Secret" else 2)
    if (kind, name, meanwhile) == ("ConfigMap", "relay-document", "down"):
        # what it should hold was noted there alone
        assert stage.server.get(kind, name, namespace=SPACE) is None
        ready = stage.condition("Tenant", "finance", "Ready")
        assert (ready["status"], ready["reason"]) == ("False", Reason.INVALID_SPEC)
    elif name == "relay-api-keys":
        assert stage.server.get(kind, name, namespace=SPACE) is not None
    else:
        assert found(stage, kind, name) == before
        assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.INVALID_SPEC
        [note] = restored(stage)
        assert note.startswith(f"{kind} {SPACE}/{name} had been deleted and was created again")
    await life.end()


@pytest.mark.parametrize(("kind", "name", "change"), EDITS, ids=label)
@in_virtual_time
async def test_an_edit_of_a_child_of_a_tenant_whose_spec_cannot_be_used_is_undone(
    kind: str, name: str, change: Edit
) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    stage.tenant(**UNUSABLE)
    await stage.settle(2)
    await life.end()
    life = await stage.operator()
    await stage.settle(2)
    edit(stage, kind, name, change)
    await stage.settle(2)
    assert found(stage, kind, name) == before
    await life.end()


@in_virtual_time
async def test_nobody_can_write_the_spec_that_is_kept() -> None:
    stage, life = await a_stage()
    stage.tenant(**UNUSABLE)
    await stage.settle(2)
    await life.end()
    before = found(stage, "Deployment", "relay")

    def forged_spec(body: Manifest) -> None:
        note = body["metadata"]["annotations"][names.ANNOTATION_SPEC]
        assert '"replicas":1' in note
        changed = note.replace('"replicas":1', '"replicas":7')
        body["metadata"]["annotations"][names.ANNOTATION_SPEC] = changed

    edit(stage, "ConfigMap", "relay-document", forged_spec)
    life = await stage.operator()
    await stage.settle(5)
    assert found(stage, "Deployment", "relay") == before
    await life.end()


@pytest.mark.parametrize(
    ("kind", "name"), [*CHILDREN[:2], ("ServiceAccount", "relay"), ("Namespace", SPACE)]
)
@in_virtual_time
async def test_what_needs_no_spec_is_repaired_although_none_is_known(kind: str, name: str) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    stage.tenant(**UNUSABLE)
    await stage.settle(2)
    await life.end()
    stage.server.remove("ConfigMap", "relay-document", namespace=SPACE)
    if kind == "Namespace":
        edit(stage, kind, name, privileged)
    else:
        stage.server.remove(kind, name, namespace=SPACE)
    life = await stage.operator()
    await stage.settle(2)
    assert found(stage, kind, name) == before
    await life.end()


class WithoutBinding(dict[str, int]):
    """Statuses of calls inside the namespace: 403 for as long as the operator's RoleBinding is missing there."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def __contains__(self, kind: object) -> bool:
        inside = kind in {kind for kind, _ in CHILDREN} - {"RoleBinding"}
        binding = self._stage.server.get("RoleBinding", "relay-operator", namespace=SPACE)
        return inside and binding is None

    def __getitem__(self, kind: str) -> int:
        return 403


@pytest.mark.parametrize("spec", [{}, UNUSABLE], ids=["usable", "unusable"])
@in_virtual_time
async def test_the_operators_own_rights_come_first(spec: Manifest) -> None:
    stage, life = await a_stage()
    stage.tenant(**spec)
    await stage.settle(2)
    await life.end()
    gone = [("RoleBinding", "relay-operator"), ("NetworkPolicy", "relay")]
    before = [found(stage, *one) for one in gone]
    for kind, name in gone:
        stage.server.remove(kind, name, namespace=SPACE)
    life = stage.life()
    life.api.failures.statuses = WithoutBinding(stage)
    await life.start()
    await stage.settle(3)
    assert [found(stage, *one) for one in gone] == before
    await life.end()


@in_virtual_time
async def test_a_suspension_stays_while_children_of_an_unusable_spec_are_repaired() -> None:
    stage, life = await a_stage()
    stage.tenant(suspend=True, **UNUSABLE)
    await stage.settle(2)
    for restarts in (False, True):
        if restarts:
            await life.end()
            life = await stage.operator()
        stage.server.remove("NetworkPolicy", "relay", namespace=SPACE)
        await stage.settle(2)
        assert stage.server.get("NetworkPolicy", "relay", namespace=SPACE) is not None
        assert all(one.tenant.suspended for one in stage.relays.documents.values())
    await life.end()


@pytest.mark.parametrize(("kind", "name", "change"), [*EDITS, *SECRET_EDITS], ids=label)
@in_virtual_time
async def test_an_edit_made_while_the_operator_was_down_is_undone_and_nothing_else_is_written(
    kind: str, name: str, change: Edit
) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    await life.end()
    edit(stage, kind, name, change)
    life = await stage.operator()
    await stage.settle(2)
    assert found(stage, kind, name) == before
    touched = {(write.key[0], write.key[2]) for write in life.api.writes}
    # without a document, its generation is counted anew, and told in every status
    told = {("Tenant", "finance"), ("RelayRoute", "chat")} if kind == "ConfigMap" else set()
    if change is sealed_for_ever:
        # between its deletion and its creation, relay pods miss what was in it
        told |= {("RelayRoute", "chat")}
    assert {one for one in touched if one[0] not in ("Event", "Pod")} - told == {(kind, name)}
    await life.end()
    life = await stage.operator()
    await stage.settle(2)
    assert life.changes == []
    await life.end()


@pytest.mark.parametrize(("kind", "name", "change"), SECRET_EDITS, ids=label)
@in_virtual_time
async def test_an_edit_of_a_secret_is_undone_at_the_next_check(
    kind: str, name: str, change: Edit
) -> None:
    stage, life = await a_stage()
    before = found(stage, kind, name)
    # before and after the first check
    for _ in range(2):
        edit(stage, kind, name, change)
        await stage.settle(31)
        assert found(stage, kind, name) == before
    await life.end()


@pytest.mark.parametrize(("kind", "name"), SECRETS)
@in_virtual_time
async def test_a_deleted_secret_is_made_again_at_the_next_check(kind: str, name: str) -> None:
    stage, life = await a_stage()
    stage.server.remove(kind, name, namespace=SPACE)
    await stage.settle(31)
    assert stage.server.get(kind, name, namespace=SPACE) is not None
    [note] = restored(stage)
    assert note.startswith(f"{kind} {SPACE}/{name} had been deleted and was created again")
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_checking_secrets_writes_nothing_and_outlives_an_api_server_that_is_away() -> None:
    stage, life = await a_stage()
    written = len(life.api.writes)
    life.api.failures.statuses["Secret"] = 503
    await stage.settle(61)
    life.api.failures.statuses.clear()
    await stage.settle(120)
    assert life.api.writes[written:] == []
    stage.server.remove("Secret", "relay-upstream", namespace=SPACE)
    await stage.settle(31)
    assert stage.server.get("Secret", "relay-upstream", namespace=SPACE) is not None
    stage.server.remove("Tenant", "finance")
    await stage.settle(61)
    assert len(life.queue) == 0
    await life.end()


@in_virtual_time
async def test_an_event_names_the_field_manager_of_an_edit() -> None:
    stage, life = await a_stage()
    edit(stage, "Deployment", "relay", scaled)
    await stage.settle(2)
    [event] = [one for one in stage.server.list("Event") if one["reason"] == Reason.RESTORED]
    assert event["message"] == (
        f"Deployment {SPACE}/relay had been changed by field manager kubectl-edit and was restored; "
        "it follows spec of the Tenant"
    )
    assert event["type"] == "Warning"
    assert event["involvedObject"]["kind"] == "Tenant"
    await life.end()


@in_virtual_time
async def test_a_tenant_whose_service_got_another_port_number_still_follows_its_spec() -> None:
    stage, life = await a_stage()
    edit(stage, "Service", "relay", on_another_port)
    stage.tenant(suspend=True)
    await stage.settle(2)
    assert [port["port"] for port in found(stage, "Service", "relay")["spec"]["ports"]] == [8080]
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("True", Reason.SUSPENDED)
    await life.end()


@in_virtual_time
async def test_a_binding_of_another_role_is_replaced() -> None:
    stage, life = await a_stage()
    before = found(stage, "RoleBinding", "relay-operator")
    foreign = copy.deepcopy(before)
    foreign["roleRef"]["name"] = "view"
    stage.server.remove("RoleBinding", "relay-operator", namespace=SPACE)
    stage.server.put(foreign)
    await stage.settle(2)
    assert found(stage, "RoleBinding", "relay-operator") == before
    await life.end()


@in_virtual_time
async def test_a_deleted_namespace_is_created_again_with_everything_in_it() -> None:
    stage, life = await a_stage()
    stage.server.remove("Namespace", SPACE)
    await stage.settle(2)
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.NAMESPACE_TERMINATING)
    stage.server.collect_garbage()
    await stage.settle(2)
    for kind, name in (*CHILDREN, *SECRETS):
        assert stage.server.get(kind, name, namespace=SPACE) is not None, kind
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.PROVISIONING)
    stage.pod()
    await stage.settle(2)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert restored(stage) == [f"Namespace {SPACE} had been deleted and was created again"]
    await life.end()


@in_virtual_time
async def test_a_new_tenant_and_a_new_spec_restore_nothing() -> None:
    stage, life = await a_stage()
    stage.tenant(relay={"replicas": 2}, network={"allowFrom": [{"namespace": "apps"}]})
    await stage.settle()
    assert found(stage, "Deployment", "relay")["spec"]["replicas"] == 2
    assert restored(stage) == []
    await life.end()


@in_virtual_time
async def test_what_others_may_set_stays_and_costs_no_write() -> None:
    stage, life = await a_stage()

    def restarted(body: Manifest) -> None:
        annotations = body["spec"]["template"]["metadata"]["annotations"]
        annotations["kubectl.kubernetes.io/restartedAt"] = "now"
        revision = {"deployment.kubernetes.io/revision": "2"}
        body["metadata"]["annotations"] = body["metadata"].get("annotations", {}) | revision

    written = len(life.api.writes)
    edit(stage, "Deployment", "relay", restarted)
    await stage.settle()
    assert life.api.writes[written:] == []
    edit(stage, "Deployment", "relay", with_a_container)
    await stage.settle()
    template = found(stage, "Deployment", "relay")["spec"]["template"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == "now"
    assert len(template["spec"]["containers"]) == 1
    await life.end()


@in_virtual_time
async def test_objects_of_strangers_wake_nobody() -> None:
    stage, life = await a_stage()
    labels = names.standard_labels("finance")
    written = len(life.api.writes)
    for name, space in (("relay-document", "default"), ("theirs", SPACE)):
        metadata = {"name": name, "namespace": space, "labels": labels}
        configmap = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        stage.server.put({**configmap, "data": {"a": "1"}})
        stage.server.put({**configmap, "data": {"a": "2"}})
    assert len(life.queue) == 0
    await stage.settle(1)
    assert life.api.writes[written:] == []
    await life.end()


@in_virtual_time
async def test_a_binding_whose_deletion_no_watch_showed_is_made_again() -> None:
    stage, life = await a_stage()
    refused = life.api.failures.statuses
    stage.server.remove("RoleBinding", "relay-operator", namespace=SPACE)
    refused["NetworkPolicy"] = 403
    stage.provider("new")
    stage.route(fallback=[{"provider": "new"}])
    await stage.settle(1)
    refused.clear()
    await stage.settle()
    assert stage.server.get("RoleBinding", "relay-operator", namespace=SPACE) is not None
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_somebody_who_undoes_a_repair_at_once_is_answered_once_a_second() -> None:
    stage, life = await a_stage()
    written = len(life.api.writes)
    for _ in range(100):
        edit(stage, "Deployment", "relay", scaled)
        await stage.settle(0.1)
    applies = [write for write in life.api.writes[written:] if write.key[0] == "Deployment"]
    assert len(applies) < 30
    await stage.settle(2)
    assert found(stage, "Deployment", "relay")["spec"]["replicas"] == 1
    await life.end()


@in_virtual_time
async def test_an_object_that_is_refused_keeps_no_other_from_being_repaired() -> None:
    stage, life = await a_stage()
    life.api.failures.statuses["Deployment"] = 422
    edit(stage, "Deployment", "relay", scaled)
    stage.server.remove("PodDisruptionBudget", "relay", namespace=SPACE)
    await stage.settle(2)
    assert stage.server.get("PodDisruptionBudget", "relay", namespace=SPACE) is not None
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.API_SERVER_REFUSED
    await life.end()
