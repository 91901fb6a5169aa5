"""Namespaces of tenants over their whole life: created, adopted, retained, released, restored, and taken by strangers."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document, endpoints, seal
from relay_operator import names
from relay_operator.errors import OperatorError
from relay_operator.names import Reason
from relay_operator.reconcile.publishing.signed_notes import SignedNotes
from relay_operator.reconcile.tenancy import left_behind

SPACE = "relay-finance"
ADOPTABLE: dict[str, Any] = {
    "annotations": {names.ANNOTATION_TENANT: "finance"},
    "labels": {names.POD_SECURITY_ENFORCE: "restricted"},
}


def put_namespace(stage: Stage, name: str = SPACE, **metadata: Any) -> str:
    """Puts a namespace as somebody else makes it; returns its UID."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}
    return str(stage.server.put(body)["metadata"]["uid"])


def home(stage: Stage) -> dict[str, Any]:
    metadata: dict[str, Any] = stage.server.stored("Namespace", SPACE)["metadata"]
    return metadata


def namespace_ready(stage: Stage) -> tuple[str, str]:
    found = stage.condition("Tenant", "finance", "NamespaceReady")
    return found["status"], found["reason"]


def message(stage: Stage) -> str:
    return str(stage.condition("Tenant", "finance", "Ready")["message"])


def api_keys(stage: Stage) -> dict[str, str]:
    data: dict[str, str] = stage.server.stored("Secret", "relay-api-keys", namespace=SPACE)["data"]
    return data


def in_force(stage: Stage, pod: str = "relay-1") -> document.Document:
    uid = stage.server.stored("Pod", pod, namespace=SPACE)["metadata"]["uid"]
    return stage.relays.documents[uid]


def delete_tenant(stage: Stage, *, orphan: bool = False) -> None:
    body = stage.server.stored("Tenant", "finance")
    uid = body["metadata"]["uid"]
    stage.server.remove("Tenant", "finance")
    if orphan:
        # as the garbage collector does for --cascade=orphan
        owned = [one for kind in ("Namespace",) for one in stage.server.list(kind)]
        for one in owned:
            kept = [o for o in one["metadata"].get("ownerReferences", ()) if o["uid"] != uid]
            if "ownerReferences" in one["metadata"]:
                one["metadata"]["ownerReferences"] = kept
                stage.server.put(one)


async def a_serving_tenant(**spec: Any) -> tuple[Stage, Life]:
    stage = Stage()
    stage.provider("legacy")
    if spec.get("namespacePolicy") == "Adopt":
        put_namespace(stage, **ADOPTABLE)
    stage.tenant(**spec)
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    return stage, life


@in_virtual_time
async def test_status_names_the_namespace_from_the_first_write_on() -> None:
    stage, life = await a_serving_tenant()
    assert stage.status("Tenant", "finance")["namespaceUID"] == home(stage)["uid"]
    assert namespace_ready(stage) == ("True", Reason.OWNED)
    assert home(stage)["ownerReferences"][0]["kind"] == "Tenant"
    await life.end()


@in_virtual_time
async def test_a_namespace_that_somebody_creates_with_copied_marks_is_never_taken() -> None:
    """The tenant's UID can be read; so can everything on a namespace of its."""
    stage, life = await a_serving_tenant()
    copied = {part: home(stage)[part] for part in ("labels", "annotations", "ownerReferences")}
    stage.server.remove("Namespace", SPACE)
    await life.end()
    stage.server.collect_garbage()
    stranger = put_namespace(stage, **copied)
    life = await stage.operator()
    await stage.settle(30)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    assert stage.server.list("Secret", namespace=SPACE) == []
    assert home(stage)["uid"] == stranger
    # nor does Adopt alone take it: this Tenant had another
    stage.tenant(namespacePolicy="Adopt")
    copied["annotations"][names.ANNOTATION_TENANT] = "finance"
    del copied["ownerReferences"]
    put_namespace(stage, **copied)
    await stage.settle(30)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    assert f"relay-operator.dev/adopt={stranger}" in message(stage)
    await life.end()


@in_virtual_time
async def test_a_namespace_that_was_there_before_the_tenant_takes_no_mark_of_it_later() -> None:
    stage = Stage()
    stranger = put_namespace(stage)
    uid = stage.tenant()["metadata"]["uid"]
    life = await stage.operator()
    await stage.settle()
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    owner = {"apiVersion": names.API_VERSION, "kind": "Tenant", "name": "finance", "uid": uid}
    stamp = SignedNotes(SIGNING_KEY, purpose="spec").sign(uid, f"{SPACE} after none")
    marks = {names.ANNOTATION_TENANT_UID: uid, names.ANNOTATION_STAMP: stamp}
    put_namespace(stage, annotations=marks, ownerReferences=[owner])
    await stage.settle(30)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    assert stage.server.list("Secret", namespace=SPACE) == []
    assert home(stage)["uid"] == stranger
    await life.end()


@in_virtual_time
async def test_a_namespace_that_somebody_deletes_is_created_again_and_known_after_a_crash() -> None:
    stage, life = await a_serving_tenant()
    first = home(stage)["uid"]
    stage.server.remove("Namespace", SPACE)
    stage.server.collect_garbage()
    # the operator dies before status could tell
    life.api.failures.dies_after = life.api.failures.writes + 2
    await stage.settle()
    await life.end()
    second = home(stage)["uid"]
    assert (second != first, stage.status("Tenant", "finance")["namespaceUID"]) == (True, first)
    life = await stage.operator()
    await stage.settle()
    assert home(stage)["uid"] == second
    assert stage.status("Tenant", "finance")["namespaceUID"] == second
    assert namespace_ready(stage) == ("True", Reason.OWNED)
    await life.end()


@in_virtual_time
async def test_secrets_that_went_with_their_namespace_are_made_again_before_a_watch_shows_that() -> (
    None
):
    stage, life = await a_serving_tenant()
    for task in life._tasks[1:]:
        if "SecretWatch" in repr(task.get_coro()):
            task.cancel()
    life.key_versions.is_followed = lambda _: True
    stage.server.remove("Namespace", SPACE)
    stage.server.collect_garbage()
    await stage.settle()
    assert namespace_ready(stage) == ("True", Reason.OWNED)
    for secret in (names.API_KEYS_SECRET, names.UPSTREAM_SECRET):
        assert stage.server.get("Secret", secret, namespace=SPACE) is not None
    await life.end()


@in_virtual_time
async def test_an_annotated_namespace_is_adopted_and_released_with_nothing_of_ours_in_it() -> None:
    stage, life = await a_serving_tenant(namespacePolicy="Adopt")
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    uid = home(stage)["uid"]
    assert "ownerReferences" not in home(stage)
    assert home(stage)["annotations"][names.ANNOTATION_TENANT_UID]
    stage.server.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "theirs", "namespace": SPACE},
        }
    )
    delete_tenant(stage)
    await stage.settle()
    assert stage.server.get("Tenant", "finance") is None
    stage.server.collect_garbage()
    assert home(stage)["uid"] == uid
    left = {
        (one["kind"], one["metadata"]["name"])
        for kind in ("Secret", "ConfigMap", "Deployment", "Service", "NetworkPolicy", "RoleBinding")
        for one in stage.server.list(kind, namespace=SPACE)
    }
    assert left == {("Secret", "theirs")}
    assert home(stage)["annotations"] == ADOPTABLE["annotations"]
    assert names.LABEL_MANAGED_BY not in home(stage)["labels"]
    assert home(stage)["labels"][names.POD_SECURITY_ENFORCE] == "restricted"
    await life.end()


@in_virtual_time
async def test_a_tenant_that_adopts_waits_for_its_namespace() -> None:
    stage = Stage()
    stage.tenant(namespacePolicy="Adopt")
    life = await stage.operator()
    await stage.settle()
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_MISSING)
    assert stage.server.get("Namespace", SPACE) is None
    put_namespace(stage, labels=ADOPTABLE["labels"])
    await stage.settle(15)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    put_namespace(stage, **ADOPTABLE)
    await stage.settle(15)
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    await life.end()


@in_virtual_time
async def test_a_namespace_with_pods_and_policies_of_others_is_not_adopted() -> None:
    stage = Stage()
    put_namespace(stage, **ADOPTABLE)
    for kind, version in (("Pod", "v1"), ("NetworkPolicy", "networking.k8s.io/v1")):
        metadata = {"name": "theirs", "namespace": SPACE}
        stage.server.put({"apiVersion": version, "kind": kind, "metadata": metadata})
    stage.tenant(namespacePolicy="Adopt")
    life = await stage.operator()
    await stage.settle()
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    assert "(Pod theirs, NetworkPolicy theirs)" in message(stage)
    for kind in ("Pod", "NetworkPolicy"):
        stage.server.remove(kind, "theirs", namespace=SPACE)
    await stage.settle(15)
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    await life.end()


@in_virtual_time
async def test_an_adopted_namespace_stays_also_if_the_policy_is_changed_before_the_end() -> None:
    stage, life = await a_serving_tenant(namespacePolicy="Adopt")
    stage.tenant(namespacePolicy="Create")
    await stage.settle()
    assert "ownerReferences" not in home(stage)
    delete_tenant(stage)
    await stage.settle()
    stage.server.collect_garbage()
    assert stage.server.get("Namespace", SPACE) is not None
    assert stage.server.get("Secret", "relay-api-keys", namespace=SPACE) is None
    await life.end()


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "with the deletion"])
@in_virtual_time
async def test_a_retained_namespace_keeps_routes_and_keys_and_nothing_that_runs(
    late: bool,
) -> None:
    stage, life = await a_serving_tenant(**({} if late else {"deletionPolicy": "Retain"}))
    before = api_keys(stage)
    if late:
        # both at once, before the operator can act on the first
        await life.end()
        stage.tenant(deletionPolicy="Retain")
    delete_tenant(stage)
    if late:
        life = await stage.operator()
    await stage.settle()
    assert stage.server.get("Tenant", "finance") is None
    assert in_force(stage).tenant.keys == ()
    stage.server.collect_garbage()
    assert "deletionTimestamp" not in home(stage)
    assert api_keys(stage) == before
    assert stage.server.get("RelayRoute", "chat", namespace=SPACE) is not None
    for kind, name in (
        ("Deployment", "relay"),
        ("Secret", "relay-upstream"),
        ("RoleBinding", names.TENANT_ROLE_BINDING),
    ):
        assert stage.server.get(kind, name, namespace=SPACE) is None, kind
    # a Tenant of the same name does not take it of itself, and gets it back if it is let
    stage.tenant()
    await stage.settle()
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    stage.tenant(namespacePolicy="Adopt")
    metadata = home(stage)
    metadata["annotations"] = {names.ANNOTATION_TENANT: "finance"}
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    await stage.settle(15)
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    assert api_keys(stage) == before
    await life.end()


@in_virtual_time
async def test_a_tenant_that_is_created_again_after_orphaning_its_namespace_adopts_it() -> None:
    stage, life = await a_serving_tenant()
    before, uid = api_keys(stage), home(stage)["uid"]
    delete_tenant(stage, orphan=True)
    await stage.settle()
    stage.server.collect_garbage()
    assert stage.server.get("Tenant", "finance") is None
    assert home(stage)["uid"] == uid
    stage.tenant()
    await stage.settle()
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_CONFLICT)
    stage.tenant(namespacePolicy="Adopt")
    metadata = home(stage)
    metadata["annotations"][names.ANNOTATION_TENANT] = "finance"
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    await stage.settle(15)
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    assert api_keys(stage) == before
    tenant_uid = stage.server.stored("Tenant", "finance")["metadata"]["uid"]
    assert home(stage)["annotations"][names.ANNOTATION_TENANT_UID] == tenant_uid
    await life.end()


@in_virtual_time
async def test_a_refused_spec_takes_no_namespace_that_a_former_tenant_left() -> None:
    stage, life = await a_serving_tenant()
    delete_tenant(stage, orphan=True)
    await stage.settle()
    before = home(stage)
    stage.tenant(relay={"resources": {"limits": {"memory": "1Mi"}}})
    await stage.settle(15)
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.INVALID_SPEC
    assert home(stage) == before
    assert "namespaceUID" not in stage.status("Tenant", "finance")
    assert in_force(stage).tenant.keys == ()
    await life.end()


@in_virtual_time
async def test_a_restored_tenant_and_namespace_of_new_uids_belong_together_again() -> None:
    """A backup keeps names, labels, annotations and Secrets, and neither UIDs, owners nor status."""
    stage, life = await a_serving_tenant()
    keys = stage.server.stored("Secret", "relay-api-keys", namespace=SPACE)
    kept = {part: home(stage)[part] for part in ("labels", "annotations")}
    await life.end()
    there = Stage()
    kept["annotations"][names.ANNOTATION_TENANT] = "finance"
    put_namespace(there, **kept)
    there.server.put({**keys, "metadata": {"name": "relay-api-keys", "namespace": SPACE}})
    there.provider("legacy")
    there.tenant(namespacePolicy="Adopt")
    there.route()
    life = await there.operator()
    await there.settle()
    there.pod()
    await there.settle()
    assert there.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert api_keys(there) == keys["data"]
    await life.end()


@in_virtual_time
async def test_a_tenant_created_again_inherits_nothing() -> None:
    stage, life = await a_serving_tenant()
    before, uid = api_keys(stage), stage.server.stored("Tenant", "finance")["metadata"]["uid"]
    delete_tenant(stage)
    stage.tenant()
    await stage.settle()
    stage.tenant()
    for _ in range(4):
        stage.server.collect_garbage()
        await stage.settle(12)
    stage.pod("relay-2")
    await stage.settle()
    assert stage.server.stored("Tenant", "finance")["metadata"]["uid"] != uid
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert not set(api_keys(stage).values()) & set(before.values())
    assert stage.server.list("RelayRoute") == []
    assert in_force(stage, "relay-2").tenant.routes == ()
    assert in_force(stage, "relay-2").generation == 1
    status = stage.status("Tenant", "finance")
    assert status["namespaceUID"] == home(stage)["uid"]
    await life.end()


def objects_of(stage: Stage, uid: str) -> list[tuple[str, str]]:
    """Lists what the Tenant of this UID owns in the namespace."""
    return [
        (one["kind"], one["metadata"]["name"])
        for one in stage.everything().values()
        if one["metadata"].get("namespace") == SPACE
        and any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", ()))
    ]


LEFT = [("Secret", "relay-api-keys"), ("Secret", "relay-upstream"), ("Deployment", "relay")]


@pytest.mark.parametrize("left", [None, *LEFT], ids=["everything", *(name for _, name in LEFT)])
@pytest.mark.parametrize("restarts", [False, True], ids=["one life", "two lives"])
@in_virtual_time
async def test_a_tenant_that_adopts_again_waits_for_what_the_former_one_left(
    left: tuple[str, str] | None, restarts: bool
) -> None:
    """The garbage collector takes its time, and things in any order."""
    stage, life = await a_serving_tenant(namespacePolicy="Adopt")
    before, former = api_keys(stage), stage.server.stored("Tenant", "finance")["metadata"]["uid"]
    delete_tenant(stage)
    await stage.settle(3)
    remaining = objects_of(stage, former)
    assert {*LEFT} <= {*remaining}
    stage.server.remove("Pod", "relay-1", namespace=SPACE)
    for kind, name in remaining:
        if left not in (None, (kind, name)):
            stage.server.remove(kind, name, namespace=SPACE)
    stage.tenant(namespacePolicy="Adopt")
    await stage.settle(3)
    if restarts:
        await life.end()
        life = await stage.operator()
    await stage.settle(30)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_TERMINATING)
    if left:
        assert f"({' '.join(left)})" in message(stage)
    kept = stage.server.get("Secret", "relay-api-keys", namespace=SPACE)
    # neither taken over nor replaced before its time
    assert kept is None or kept["data"] == before
    stage.server.collect_garbage()
    await stage.settle(15)
    stage.pod("relay-2")
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert namespace_ready(stage) == ("True", Reason.ADOPTED)
    keys = api_keys(stage)
    assert not set(keys.values()) & set(before.values())
    stage.server.collect_garbage()
    await stage.settle(15)
    assert api_keys(stage) == keys
    await life.end()


@in_virtual_time
async def test_a_tenant_whose_namespace_is_stuck_in_deletion_says_who_holds_it_and_holds_up_nobody() -> (
    None
):
    stage, life = await a_serving_tenant()
    held = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource"
    stage.server.remove("Namespace", SPACE)
    body = stage.server.stored("Namespace", SPACE)
    told = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": held}
    stage.server.put({**body, "status": {"phase": "Terminating", "conditions": [told]}})
    stage.tenant("other")
    await stage.settle(15)
    assert namespace_ready(stage) == ("False", Reason.NAMESPACE_TERMINATING)
    assert held in message(stage)
    assert stage.condition("Tenant", "other", "NamespaceReady")["status"] == "True"
    delete_tenant(stage)
    await stage.settle()
    assert stage.server.get("Tenant", "finance") is None
    await life.end()


@in_virtual_time
async def test_a_tenant_goes_although_its_pods_do_not_answer() -> None:
    stage, life = await a_serving_tenant()
    stage.relays.silent.add("relay-1")
    delete_tenant(stage)
    await stage.settle()
    assert "have not acknowledged it are waited for" in message(stage)
    await stage.settle(12)
    assert stage.server.get("Tenant", "finance") is None
    await life.end()


@in_virtual_time
async def test_a_finalizer_of_ours_that_was_taken_away_keeps_no_key_in_force() -> None:
    stage, life = await a_serving_tenant()
    body = stage.server.stored("Tenant", "finance")
    body["metadata"]["finalizers"] = []
    stage.server.put(body)
    stage.server.remove("Tenant", "finance")
    await stage.settle(1)
    assert in_force(stage).tenant.keys == ()
    await life.end()


def stored_document(stage: Stage) -> document.Document:
    configmap = stage.server.stored("ConfigMap", "relay-document", namespace=SPACE)
    return seal.unseal(configmap["data"][endpoints.DOCUMENT_KEY], [SIGNING_KEY.public_key()])[0]


@in_virtual_time
async def test_keys_are_refused_before_the_tenant_goes() -> None:
    stage, life = await a_serving_tenant()
    delete_tenant(stage)
    await stage.settle(0.5)
    assert in_force(stage).tenant.keys == ()
    assert stored_document(stage).tenant.suspended
    await stage.settle()
    assert stage.server.get("Tenant", "finance") is None
    await life.end()


@in_virtual_time
async def test_a_tenant_named_after_a_namespace_of_the_platform_is_refused() -> None:
    stage = Stage()
    stage.tenant("system")
    life = await stage.operator()
    await stage.settle()
    ready = stage.condition("Tenant", "system", "NamespaceReady")
    assert ready["reason"] == Reason.NAMESPACE_CONFLICT
    assert names.LABEL_MANAGED_BY not in stage.server.stored("Namespace", "relay-system")[
        "metadata"
    ].get("labels", {})
    await life.end()


async def released(stage: Stage, *wanted: str) -> list[str]:
    api: Any = stage.server.connect()
    return [line async for line in left_behind.release(api, frozenset(wanted))]


@in_virtual_time
async def test_what_an_uninstalled_operator_left_is_released() -> None:
    stage, life = await a_serving_tenant()
    stage.tenant("other")
    await stage.settle()
    await life.end()
    delete_tenant(stage)
    assert stage.server.get("Tenant", "finance") is not None
    assert await released(stage, "finance") == ["tenant finance: released"]
    stage.server.collect_garbage()
    assert stage.server.get("Tenant", "finance") is None
    assert stage.server.get("Namespace", SPACE) is None
    assert stage.server.stored("Tenant", "other")["metadata"]["finalizers"] == [names.FINALIZER]
    assert await released(stage) == ["tenant other: released"]
    assert not stage.server.stored("Tenant", "other")["metadata"].get("finalizers")
    assert await released(stage) == []


@in_virtual_time
async def test_a_tenant_that_does_not_exist_is_named_and_nothing_is_released() -> None:
    stage, life = await a_serving_tenant()
    await life.end()
    with pytest.raises(OperatorError, match="there is no Tenant fiance"):
        await released(stage, "finance", "fiance")
    assert stage.server.stored("Tenant", "finance")["metadata"]["finalizers"] == [names.FINALIZER]


@in_virtual_time
async def test_a_namespace_that_is_to_stay_is_released_without_an_operator_too() -> None:
    stage, life = await a_serving_tenant(deletionPolicy="Retain")
    await life.end()
    delete_tenant(stage)
    assert await released(stage) == [f"tenant finance: released; namespace {SPACE} stays"]
    stage.server.collect_garbage()
    assert stage.server.get("Tenant", "finance") is None
    assert stage.server.get("Deployment", "relay", namespace=SPACE) is None
    assert stage.server.get("Secret", "relay-api-keys", namespace=SPACE) is not None


@pytest.mark.parametrize(
    "policy", [{"deletionPolicy": "Retain"}, {"namespacePolicy": "Adopt"}], ids=["kept", "adopted"]
)
@in_virtual_time
async def test_a_tenant_deleted_after_its_release_leaves_nothing_that_runs(
    policy: dict[str, str],
) -> None:
    stage, life = await a_serving_tenant(**policy)
    before = api_keys(stage)
    await life.end()
    done = f"namespace {SPACE} stays when it is deleted, and the relay in it goes"
    assert await released(stage) == [f"tenant finance: released; {done}"]
    # until then it serves, and an operator that comes back knows it
    stage.server.collect_garbage()
    assert stage.server.get("Deployment", "relay", namespace=SPACE) is not None
    assert home(stage)["annotations"][names.ANNOTATION_TENANT_UID]
    delete_tenant(stage)
    assert stage.server.get("Tenant", "finance") is None
    stage.server.collect_garbage()
    assert "deletionTimestamp" not in home(stage)
    left = {
        (one["kind"], one["metadata"]["name"])
        for one in stage.everything().values()
        if one["metadata"].get("namespace") == SPACE and one["kind"] not in ("Pod", "RelayRoute")
    }
    keys = {("Secret", "relay-api-keys")} if "deletionPolicy" in policy else set()
    assert left == keys
    if keys:
        assert api_keys(stage) == before


@in_virtual_time
async def test_keys_that_are_to_stay_do_so_after_a_release_under_another_policy() -> None:
    stage, life = await a_serving_tenant(namespacePolicy="Adopt")
    before = api_keys(stage)
    await life.end()
    await released(stage)
    life = await stage.operator()
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    stage.tenant(namespacePolicy="Adopt", deletionPolicy="Retain")
    delete_tenant(stage)
    await stage.settle()
    stage.server.collect_garbage()
    assert stage.server.get("Tenant", "finance") is None
    assert stage.server.get("Deployment", "relay", namespace=SPACE) is None
    assert api_keys(stage) == before
    await life.end()


@in_virtual_time
async def test_a_namespace_is_released_once_although_no_watch_has_shown_that_its_tenant_is_gone() -> (
    None
):
    stage, life = await a_serving_tenant(deletionPolicy="Retain")
    delete_tenant(stage)
    await stage.settle(0.06)
    # the deletion was told, its end is not
    life.lagging.add("Tenant")
    await stage.settle()
    assert stage.server.get("Tenant", "finance") is None
    # objects that go have their tenant looked at
    stage.server.collect_garbage()
    await stage.settle(30)
    assert names.ANNOTATION_TENANT_UID not in home(stage).get("annotations", {})
    assert names.LABEL_MANAGED_BY not in home(stage)["labels"]
    assert stage.server.get("RoleBinding", names.TENANT_ROLE_BINDING, namespace=SPACE) is None
    life.lagging.clear()
    await stage.settle()
    await life.end()


@in_virtual_time
async def test_a_tenant_goes_although_something_in_its_namespace_cannot_be_cleared() -> None:
    stage, life = await a_serving_tenant(namespacePolicy="Adopt")
    life.api.failures.statuses["ServiceAccount"] = 422
    delete_tenant(stage)
    await stage.settle(40)
    assert stage.server.get("Tenant", "finance") is None
    stage.server.collect_garbage()
    assert stage.server.get("Secret", "relay-api-keys", namespace=SPACE) is None
    assert stage.server.get("Namespace", SPACE) is not None
    await life.end()


@in_virtual_time
async def test_a_namespace_that_is_to_stay_is_never_left_to_the_garbage_collector() -> None:
    stage, life = await a_serving_tenant()
    # the operator cannot take its reference off, and never hears of the new policy before the end
    life.api.failures.statuses["Namespace"] = 503
    stage.tenant(deletionPolicy="Retain")
    delete_tenant(stage)
    await stage.settle(60)
    assert in_force(stage).tenant.keys == ()
    assert stage.server.get("Tenant", "finance") is not None
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert stage.server.get("Tenant", "finance") is None
    stage.server.collect_garbage()
    assert "deletionTimestamp" not in home(stage)
    await life.end()


@in_virtual_time
async def test_a_namespace_without_the_operators_binding_is_released_too() -> None:
    stage, life = await a_serving_tenant(deletionPolicy="Retain")
    await life.end()
    stage.server.remove("RoleBinding", names.TENANT_ROLE_BINDING, namespace=SPACE)
    delete_tenant(stage)
    life = await stage.operator()
    await stage.settle()
    stage.server.collect_garbage()
    assert stage.server.get("Tenant", "finance") is None
    assert stage.server.get("RoleBinding", names.TENANT_ROLE_BINDING, namespace=SPACE) is None
    assert stage.server.get("Deployment", "relay", namespace=SPACE) is None
    await life.end()
