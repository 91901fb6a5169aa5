"""Tenants' namespaces against their own people, against admins of the namespace, and against other operators."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract import admission_scene as scene
from tests.contract import kinds
from tests.contract.admission_scene import Account, Manifest
from tests.contract.tenancy_attempts import (
    ENDPOINTS,
    OF_THE_OPERATOR,
    OF_THE_PLATFORM,
    OWNER,
    POD,
    RBAC,
    SPACE,
    Attempt,
    an_object,
    ask,
    binding,
    create,
    pod,
    policy,
    route,
    template,
)

KEPT = "kept by the relay-operator alone"
FAR = "good for RelayRoutes only"
POLICIES = "relay-operator-tenant-"
WRONG_ROLES = ("admin", "edit", "everything")
"""What somebody bound in the tenant's namespace although nobody should."""


@pytest.fixture(scope="module")
def home(kubectl: Client, helm: Client) -> Iterator[str]:
    """Makes a tenant's namespace with everything in it, and binds roles there that should not be bound."""
    with scene.installed(kubectl, helm):
        breaker = break_glass(kubectl)
        kubectl.apply(
            _rights("everything", "*", "*"),
            _rights("makers-of-namespaces", "", "namespaces"),
            ENDPOINTS,
        )
        kinds.wait_for_all(kubectl)
        kubectl.apply(_bound_everywhere("other-operators", "everything"))
        kubectl.apply(_bound_everywhere("makers-of-namespaces", "makers-of-namespaces"))
        try:
            for manifest in scene.home_of(scene.a_tenant(kubectl, "kept")):
                assert breaker.apply(manifest) == ""
            scene.until_refused(cluster_admin(kubectl), policy("open"))
            for role in WRONG_ROLES:
                assert breaker.create(binding(f"wrong-{role}", role, _group(role))) == ""
            assert breaker.create(route("chat")) == ""
            assert breaker.create(pod(POD)) == ""
            yield SPACE
        finally:
            kubectl("delete", "tenant", "kept")
            kubectl("delete", "crd", ENDPOINTS["metadata"]["name"])
            kubectl("delete", "clusterrole", "everything", "makers-of-namespaces")
            kubectl("delete", "clusterrolebinding", "other-operators", "makers-of-namespaces")


def break_glass(kubectl: Client) -> Account:
    return scene.somebody(kubectl, "on-call", "system:masters", scene.BREAK_GLASS)


def cluster_admin(kubectl: Client) -> Account:
    return scene.somebody(kubectl, "root", "system:masters")


def namespace_admin(kubectl: Client, role: str) -> Account:
    """Returns somebody whose rights come from one role that is bound in the tenant's namespace."""
    return scene.somebody(kubectl, "head-of-kept", _group(role), "system:authenticated")


def other_operator(kubectl: Client) -> Account:
    """Returns another operator, with every right in the whole cluster."""
    name = "system:serviceaccount:other:operator"
    return scene.somebody(kubectl, name, "other-operators", "system:authenticated")


def _group(role: str) -> str:
    return f"{role}-of-kept"


def _rights(name: str, group: str, resource: str) -> Manifest:
    rule = {"apiGroups": [group], "resources": [resource], "verbs": ["*"]}
    metadata = {"name": name}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": [rule],
    }


def _bound_everywhere(name: str, role: str) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": name, "apiGroup": RBAC}],
    }


def answers(attempts: dict[str, Attempt], who: Account) -> dict[str, str]:
    """Lets somebody try everything, four attempts at a time, and returns what the API server said to each."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(attempts, pool.map(lambda one: one(who), attempts.values()), strict=True))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "who", [partial(namespace_admin, role="everything"), cluster_admin, other_operator],
    ids=["every right in the namespace", "cluster admin", "another operator"],
)  # fmt: skip
def test_what_the_operator_keeps_is_changed_by_nobody_else(
    kubectl: Client, home: str, who: Callable[[Client], Account]
) -> None:
    found = answers(OF_THE_OPERATOR, who(kubectl))
    assert {case: told for case, told in found.items() if POLICIES not in told} == {}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("role", WRONG_ROLES)
def test_rights_that_were_granted_in_the_namespace_do_not_count(
    kubectl: Client, home: str, role: str
) -> None:
    found = answers(OF_THE_OPERATOR | OF_THE_PLATFORM, namespace_admin(kubectl, role))
    # edit has not all of these rights, and what another attempt would have made is not there
    refused = ("orbidden", "not found")
    assert {
        case: told for case, told in found.items() if not any(one in told for one in refused)
    } == {}
    if role == "everything":
        assert all(POLICIES in told or "not found" in told for told in found.values()), found


def test_a_cluster_admin_is_told_the_way_in_an_emergency(kubectl: Client, home: str) -> None:
    told = OF_THE_OPERATOR["the Deployment's scale"](cluster_admin(kubectl))
    assert KEPT in told
    assert "in an emergency, act as a member of relay-operator:break-glass" in told


def test_the_platform_and_other_operators_write_everything_else(kubectl: Client, home: str) -> None:
    made = (
        "secret/relay-tls",
        "configmap/bundle",
        "resourcequota/few",
        "lease/mine",
        "ciliumendpoint/wired",
    )
    for who in (cluster_admin(kubectl), other_operator(kubectl)):
        for case, attempt in OF_THE_PLATFORM.items():
            assert attempt(who) == "", case
        for one in made:
            assert who.ask("delete", one, "-n", home, "--wait=false") == ""
        label = ("remove", "/metadata/labels/cost-center", None)
        assert who.patch("namespace", home, "", label) == ""


def test_a_tenant_writes_routes_and_reads_its_keys_and_nothing_else(
    kubectl: Client, home: str
) -> None:
    bound = create(binding("people", "relay-tenant", "kept"))
    assert FAR in bound(namespace_admin(kubectl, "everything"))
    assert bound(cluster_admin(kubectl)) == ""
    tenant = scene.somebody(kubectl, "ann", "kept", "system:authenticated")
    scene.until_allowed(tenant, route("mine"))
    assert tenant.create(route("mine")) == ""
    assert tenant.patch("relayroute", "mine", SPACE, ("add", "/spec/paused", True)) == ""
    assert tenant.ask("delete", "relayroute", "mine", "-n", SPACE) == ""
    assert tenant.ask("get", "secret", "relay-api-keys", "-n", SPACE) == ""
    reading = [
        ask("get", "secret", "relay-upstream"),
        ask("get", "secrets"),
        ask("get", "pods"),
        ask("get", "configmap", "relay-document"),
        ask("get", "networkpolicies"),
        ask("get", "relayroutes", "-A"),
        ask("get", "tenants"),
        ask("get", "providers"),
        lambda who: who.ask("get", "relayroutes", "-n", "relay-other"),
        lambda who: who.ask("get", "secret", "relay-api-keys", "-n", "relay-other"),
    ]
    for attempt in [*reading, *OF_THE_OPERATOR.values(), *OF_THE_PLATFORM.values()]:
        refusal = attempt(tenant)
        assert "orbidden" in refusal or "not found" in refusal, refusal


FAT: dict[str, tuple[str, Any, str]] = {
    "labels": ("labels", {f"l{number}": "x" * 63 for number in range(33)}, "at most 32 labels"),
    "annotations": ("annotations", {f"a{number}": "" for number in range(33)}, "at most 32 annotations"),
    "long annotations": ("annotations", {"a": "x" * 40_000, "b": "x" * 40_000}, "64 KiB together"),
    "finalizers": ("finalizers", [f"a.test/{number}" for number in range(9)], "at most 8 finalizers"),
    "owners": ("ownerReferences", [OWNER | {"uid": f"u-{number}"} for number in range(9)], "at most 8 owners"),
    "the name of an owner": ("ownerReferences", [OWNER | {"name": "x" * 100_000}], "at most 8 owners"),
}  # fmt: skip
"""What nothing else bounds of an object that people of tenants write, and that the operators hold in memory."""


@pytest.mark.parametrize("case", FAT)
def test_a_route_carries_nothing_that_fills_the_operators_memory(
    kubectl: Client, home: str, case: str
) -> None:
    field, value, says = FAT[case]
    for who in (namespace_admin(kubectl, "everything"), cluster_admin(kubectl)):
        made = route("fat")
        refusal = who.create(made | {"metadata": {**made["metadata"], field: value}})
        assert says in refusal
        assert "relay-operator-route-sizes" in refusal
        assert says in who.patch("relayroute", "chat", SPACE, ("add", f"/metadata/{field}", value))


def test_looking_into_a_relay_pod_and_deleting_it_takes_rights_in_the_cluster(
    kubectl: Client, home: str
) -> None:
    url = f"/api/v1/namespaces/{home}/pods/relay-1"
    attempts: tuple[Attempt, ...] = (
        lambda who: who.ask("create", "--raw", f"{url}/exec?command=true", "-f", "-", stdin={}),
        lambda who: who.ask("create", "--raw", f"{url}/attach", "-f", "-", stdin={}),
        lambda who: who.ask("create", "--raw", f"{url}/portforward", "-f", "-", stdin={}),
        lambda who: who.ask("get", "--raw", f"{url}:8081/proxy/metrics"),
        lambda who: who.ask("get", "--raw", f"/api/v1/namespaces/{home}/services/relay/proxy/v1"),
    )
    for attempt in attempts:
        assert FAR in attempt(namespace_admin(kubectl, "everything"))
        assert FAR not in attempt(cluster_admin(kubectl))


def test_the_break_glass_group_may_do_everything(kubectl: Client, home: str) -> None:
    breaker = break_glass(kubectl)
    for case in ("the Deployment's scale", "another network policy", "a RoleBinding"):
        assert OF_THE_OPERATOR[case](breaker) == "", case
    assert breaker.ask("delete", "networkpolicy/open", "rolebinding/more", "-n", home) == ""


STAMP = "relay-operator.dev/tenant-uid"
OFFER = "relay-operator.dev/tenant"


@pytest.mark.parametrize("annotation", [STAMP, OFFER])
def test_only_who_may_write_tenants_marks_a_namespace(
    kubectl: Client, home: str, annotation: str
) -> None:
    metadata = {"name": "relay-forged", "annotations": {annotation: "kept"}}
    marked = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    forger = scene.somebody(kubectl, "forger", "makers-of-namespaces", "system:authenticated")
    assert "relay-operator-tenant-namespaces" in forger.create(marked, dry=True)
    unmarked = {**marked, "metadata": {"name": "relay-forged"}}
    assert forger.create(unmarked, dry=True) == ""
    # restored from a backup, or offered for adoption
    assert cluster_admin(kubectl).create(marked, dry=True) == ""


def test_nobody_sets_the_label_by_which_the_operator_watches(
    kubectl: Client, home: str, namespace: str
) -> None:
    labels = {"app.kubernetes.io/managed-by": "relay-operator"}
    metadata = {"name": "mine", "namespace": namespace}
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}
    spaced = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "relay-like", "labels": labels},
    }
    add = ("add", "/metadata/labels", labels)
    for who in (cluster_admin(kubectl), other_operator(kubectl)):
        for labelled in (mine | {"metadata": metadata | {"labels": labels}}, spaced):
            assert "choose another value" in who.create(labelled)
        assert who.create(mine) == ""
        assert "choose another value" in who.patch("configmap", "mine", namespace, add)
        # one that has it from before is in nobody's way
        assert break_glass(kubectl).patch("configmap", "mine", namespace, add) == ""
        assert who.patch("configmap", "mine", namespace, ("add", "/data/c", "d")) == ""
        assert who.patch("configmap", "mine", namespace, ("remove", "/metadata/labels", None)) == ""
        assert who.ask("delete", "configmap", "mine", "-n", namespace) == ""
    # nor by the template of a ReplicaSet, whose pods a controller of the cluster makes
    controller = scene.somebody(
        kubectl, "system:serviceaccount:kube-system:replicaset-controller", "system:masters"
    )
    made = an_object("v1", "Pod", "mine", spec=template()["spec"])
    assert "choose another value" in controller.create(
        made | {"metadata": metadata | {"labels": labels}}
    )


def test_other_namespaces_are_nobodys_concern(kubectl: Client, home: str, namespace: str) -> None:
    who = scene.somebody(kubectl, "root", "system:masters")
    elsewhere = {"metadata": {"name": "open", "namespace": namespace}}
    assert who.create(policy("open") | elsewhere) == ""
    assert who.patch("namespace", namespace, "", ("add", "/metadata/labels/a", "b")) == ""


def test_a_policy_that_fails_or_is_gone_does_not_hold_up_the_operator(
    kubectl: Client, home: str, tmp_path: Path
) -> None:
    operator = scene.with_token(
        kubectl, kubectl("create", "token", "relay-operator", "-n", scene.SYSTEM).strip(), tmp_path
    )
    guard = "relay-operator-tenant-objects"
    failing = ("replace", "/spec/validations/0/expression", "object.no.such.field == 1")
    assert cluster_admin(kubectl).patch("validatingadmissionpolicy", guard, "", failing) == ""
    harmless = an_object("v1", "ConfigMap", "harmless", data={})
    assert "no such key" in scene.until_refused(cluster_admin(kubectl), harmless)
    owner = scene.a_tenant(kubectl, "kept")
    for manifest in scene.home_of(owner):
        assert operator.apply(manifest) == ""
    kubectl("delete", "validatingadmissionpolicy", guard)
    kubectl("delete", "validatingadmissionpolicybinding", guard)
    for manifest in scene.home_of(owner):
        assert operator.apply(manifest) == ""


def test_a_protected_tenant_and_the_definitions_are_not_deleted_by_mistake(
    kubectl: Client, home: str
) -> None:
    admin, breaker = cluster_admin(kubectl), break_glass(kubectl)
    protection = "relay-operator.dev/prevent-deletion"
    tenant = ("delete", "tenants.relay-operator.dev", "kept", "--dry-run=server")
    everybody = ("delete", "tenants.relay-operator.dev", "--all", "--dry-run=server")
    definition = ("delete", "crd", "tenants.relay-operator.dev", "--dry-run=server")
    assert admin.ask(*tenant) == ""
    assert admin.ask("annotate", "tenant", "kept", f"{protection}=true") == ""
    for who in (admin, other_operator(kubectl)):
        assert "take its annotation" in who.ask(*tenant)
        assert "take its annotation" in who.ask(*everybody)
        assert "uninstall the chart first" in who.ask(*definition)
    assert breaker.ask(*definition) == ""
    assert breaker.ask(*tenant) == ""
    # other definitions are nobody's business
    assert admin.ask("delete", "crd", ENDPOINTS["metadata"]["name"], "--dry-run=server") == ""
    assert admin.ask("annotate", "tenant", "kept", f"{protection}-") == ""
    assert admin.ask(*tenant) == ""
