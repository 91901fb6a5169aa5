"""Who steals the operator's token gets no further than tenants' namespaces: every way out is tried on a real API server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract import admission_scene as scene
from tests.contract.admission_scene import OPERATOR, SYSTEM, Account, Manifest

SPACE = "relay-robbed"
STRANGER = "relay-stranger"
"""A namespace of somebody else, by a name as of a tenant's."""


@pytest.fixture(scope="module")
def thief(
    kubectl: Client, helm: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """Returns who has the operator's own token, after the operator made a tenant's home with it."""
    with scene.operator(kubectl, helm, tmp_path_factory.mktemp("thief")) as account:
        kubectl("create", "namespace", STRANGER)
        scene.make_home(account, scene.home_of(scene.a_tenant(kubectl, "robbed")))
        # of somebody else, as a backup tool's
        held = '{"metadata": {"finalizers": ["platform.test/kept"], "annotations": {"a": "b"}}}'
        kubectl("patch", "tenant", "robbed", "--type=merge", "-p", held)
        yield account
        released = '{"metadata": {"finalizers": null}}'
        kubectl("patch", "tenant", "robbed", "--type=merge", "-p", released)
        kubectl("delete", "tenant", "robbed")
        kubectl("delete", "namespace", STRANGER, "--wait=false")


def named(manifest: Manifest, name: str) -> Manifest:
    return manifest | {"metadata": {**manifest["metadata"], "name": name}}


def a_namespace(name: str, *, level: str = "restricted", uid: str = "u-1") -> Manifest:
    metadata: Manifest = {
        "name": name,
        "labels": {"pod-security.kubernetes.io/enforce": level},
        "annotations": {"relay-operator.dev/tenant-uid": uid} if uid else {},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def owned_by(kind: str, uid: str) -> list[Manifest]:
    version = "relay-operator.dev/v1alpha1" if kind == "Tenant" else "v1"
    return [{"apiVersion": version, "kind": kind, "name": "gone", "uid": uid}]


def a_secret(name: str, space: str, **fields: Any) -> Manifest:
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata} | fields


def token_of(account: str, name: str, space: str) -> Manifest:
    """Returns a Secret into which the cluster would write a token of this account."""
    secret = a_secret(name, space, type="kubernetes.io/service-account-token")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": account}
    return secret


def a_deployment(space: str, name: str) -> Manifest:
    labels = {"app": "evil"}
    pod = {
        "serviceAccountName": "relay",
        "automountServiceAccountToken": False,
        "containers": [{"name": "relay", "image": scene.IMAGE, "securityContext": {}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def a_service(space: str, **spec: Any) -> Manifest:
    selector = {"app.kubernetes.io/name": "relay", "relay-operator.dev/tenant": "robbed"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "evil", "namespace": space},
        "spec": {"selector": selector, "ports": [{"port": 443}]} | spec,
    }


MORE = {"kind": "User", "name": "thief", "apiGroup": "rbac.authorization.k8s.io"}

REGISTRY = {".dockerconfigjson": "e30="}

CREATIONS: dict[str, tuple[Manifest, str]] = {
    # towards rights elsewhere
    "its role in kube-system": (scene.binding("kube-system"), "tenants' namespaces and its own only"),
    "its role in its own namespace": (scene.binding(SYSTEM), "signing key and Leases only"),
    "its role in a stranger's": (scene.binding(STRANGER), "tenants' namespaces and its own only"),
    "another name": (named(scene.binding(SPACE), "evil"), "one RoleBinding"),
    "another subject": (scene.binding(SPACE, subjects=[MORE]), "to itself only"),
    "a token of an account beside it": (token_of("default", "stolen", SYSTEM), "its own Secrets"),
    "a token as its signing key": (token_of("default", "relay-operator-signing-key", SYSTEM), "its own Secrets"),
    "a token in a tenant's namespace": (token_of("default", "stolen", SPACE), "its own Secrets"),
    "a token for the registry": (token_of("default", "relay-image-pull", SPACE), "its own Secrets"),
    "keys of another type": (a_secret("relay-upstream", SPACE, type="kubernetes.io/dockerconfigjson", data=REGISTRY), "its own Secrets"),
    "a Secret beside it": (a_secret("sh.helm.release.v1.x", SYSTEM), "its own Secrets"),
    "a Secret of a stranger": (a_secret("other-tls", SPACE), "its own Secrets"),
    # towards pods of its own
    "a deployment by another name": (a_deployment(SPACE, "evil"), "one Deployment a tenant"),
    "a service for an address": (a_service(SPACE, externalIPs=["10.96.0.1"]), "relay pods only"),
    "a service of a name": (a_service(SPACE, type="ExternalName", externalName="evil.test"), "relay pods only"),
    "a service for other pods": (a_service(SPACE, selector={"app": "x"}), "relay pods only"),
    # towards namespaces
    "a namespace of another name": (a_namespace("evil"), "namespaces of tenants only"),
    "a namespace without a stamp": (a_namespace("relay-evil", uid=""), "carries its Tenant's UID"),
    "a namespace for privileged pods": (a_namespace("relay-evil", level="privileged"), "enforces restricted pods"),
}  # fmt: skip


@pytest.mark.parametrize("case", CREATIONS)
def test_a_thief_creates_nothing_outside_its_bounds(thief: Account, case: str) -> None:
    manifest, says = CREATIONS[case]
    refusal = thief.create(manifest)
    assert says in refusal
    assert "relay-operator-bounds" in refusal


SET_STAMP = ("add", "/metadata/annotations", {"relay-operator.dev/tenant-uid": "u-1"})
OWNERS = "/metadata/ownerReferences"
POD_SECURITY = "/metadata/labels/pod-security.kubernetes.io~1enforce"
STAMP = "/metadata/annotations/relay-operator.dev~1tenant-uid"
OFFER = "/metadata/annotations/relay-operator.dev~1tenant"
FINALIZERS = "/metadata/finalizers"
POD = "/spec/template/spec"

EVIL = {"name": "evil", "image": "evil"}
TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}

Edit = tuple[str, str, list[tuple[str, str, Any]], str]
"""kind, name, what is changed, and what the refusal says"""

OF_NAMESPACES: dict[str, Edit] = {
    "kube-system given an owner that is gone": ("namespace", "kube-system", [("add", OWNERS, owned_by("Node", "u-1"))], "namespaces of tenants only"),
    "its own namespace changed": ("namespace", SYSTEM, [("add", "/metadata/labels/evil", "x")], "signing key and Leases only"),
    "a stranger's namespace given an owner": ("namespace", STRANGER, [("add", OWNERS, owned_by("Tenant", "u-1"))], "carries its Tenant's UID"),
    "a stranger's namespace taken": ("namespace", STRANGER, [SET_STAMP, ("add", POD_SECURITY, "restricted")], "not the operator's to take"),
    "a tenant's pod security lowered": ("namespace", SPACE, [("replace", POD_SECURITY, "privileged")], "enforces restricted pods"),
    "a tenant's pod security taken away": ("namespace", SPACE, [("remove", POD_SECURITY, None)], "enforces restricted pods"),
    "another stamp": ("namespace", SPACE, [("replace", STAMP, "u-1"), ("replace", OWNERS, owned_by("Tenant", "u-1"))], "not the operator's to take"),
    "another owner": ("namespace", SPACE, [("replace", OWNERS, owned_by("Tenant", "u-1"))], "nobody else owns it"),
    "a stamp taken away to set another": ("namespace", SPACE, [("remove", STAMP, None), ("remove", OWNERS, None)], "carries its Tenant's UID"),
    "an older pod security": ("namespace", SPACE, [("replace", f"{POD_SECURITY}-version", "v1.0")], "enforces restricted pods"),
    "a label that others' policies go by": ("namespace", SPACE, [("add", "/metadata/labels/team", "payments")], "its own labels and annotations only"),
    "an annotation that others go by": ("namespace", SPACE, [("add", "/metadata/annotations/linkerd.io~1inject", "enabled")], "its own labels and annotations only"),
    "a finalizer that nobody removes, on a namespace": ("namespace", SPACE, [("add", FINALIZERS, ["evil.test/held"])], "no finalizer but its own"),
    "an offer by itself": ("namespace", SPACE, [("add", OFFER, "robbed")], "only the platform offers"),
}  # fmt: skip
OF_OBJECTS: dict[str, Edit] = {
    "a subject more": ("rolebinding", "relay-operator", [("add", "/subjects/-", MORE)], "to itself only"),
    "another image": ("deployment", "relay", [("replace", f"{POD}/containers/0/image", "evil")], "own image only"),
    "another command": ("deployment", "relay", [("replace", f"{POD}/containers/0/command", ["sh"])], "own image only"),
    "a container more": ("deployment", "relay", [("add", f"{POD}/containers/-", EVIL)], "own image only"),
    "an init container": ("deployment", "relay", [("add", f"{POD}/initContainers", [EVIL | {"image": scene.IMAGE}])], "own image only"),
    "another account": ("deployment", "relay", [("replace", f"{POD}/serviceAccountName", "default")], "own image only"),
    "a library of its own": ("deployment", "relay", [("add", f"{POD}/containers/0/env/-", {"name": "LD_PRELOAD", "value": "/evil"})], "code of their image"),
    "files over the image's": ("deployment", "relay", [("add", f"{POD}/containers/0/volumeMounts/-", {"name": "document", "mountPath": "/etc/relay/../../usr/lib"})], "code of their image"),
    "a command of a hook": ("deployment", "relay", [("replace", f"{POD}/containers/0/lifecycle/preStop", {"exec": {"command": ["sh"]}})], "code of their image"),
    "a command of a probe": ("deployment", "relay", [("replace", f"{POD}/containers/0/livenessProbe", {"exec": {"command": ["sh"]}})], "code of their image"),
    "the node's network": ("deployment", "relay", [("add", f"{POD}/hostNetwork", True)], "without the node's resources"),
    "the node's processes": ("deployment", "relay", [("add", f"{POD}/hostPID", True)], "without the node's resources"),
    "the node's files": ("deployment", "relay", [("add", f"{POD}/volumes/-", {"name": "root", "hostPath": {"path": "/"}})], "without the node's resources"),
    "a token mounted": ("deployment", "relay", [("replace", f"{POD}/automountServiceAccountToken", True)], "without a token"),
    "a token as a volume": ("deployment", "relay", [("add", f"{POD}/volumes/-", {"name": "token", "projected": TOKEN})], "without a token"),
    "a priority before all others": ("deployment", "relay", [("add", f"{POD}/priorityClassName", "system-node-critical")], "without a priority"),
    "a node of its choice": ("deployment", "relay", [("add", f"{POD}/nodeName", "control-plane")], "without a priority or node"),
    "a finalizer that nobody removes": ("deployment", "relay", [("add", FINALIZERS, ["evil.test/held"])], "no finalizer but its own"),
    "privileges": ("deployment", "relay", [("add", f"{POD}/containers/0/securityContext/privileged", True), ("replace", f"{POD}/containers/0/securityContext/allowPrivilegeEscalation", True)], "without privileges"),
    "a token for relay pods": ("serviceaccount", "relay", [("replace", "/automountServiceAccountToken", True)], "without a token"),
    "an address of the API server's": ("service", "relay", [("add", "/spec/externalIPs", ["10.96.0.1"])], "relay pods only"),
}  # fmt: skip


OF_TENANTS: dict[str, Edit] = {
    "an owner that is gone, so that it is collected with its namespace": ("tenant", "robbed", [("add", OWNERS, owned_by("Node", "u-1"))], "its finalizer on Tenants only"),
    "a label that opens Providers": ("tenant", "robbed", [("add", "/metadata/labels", {"residency": "eu"})], "its finalizer on Tenants only"),
    "an annotation that asks for something": ("tenant", "robbed", [("add", "/metadata/annotations/relay-operator.dev~1rotate-keys", "x")], "its finalizer on Tenants only"),
    "the finalizer of somebody else taken away": ("tenant", "robbed", [("replace", FINALIZERS, [])], "its finalizer on Tenants only"),
    "a finalizer that nobody removes, on a Tenant": ("tenant", "robbed", [("add", f"{FINALIZERS}/-", "evil.test/held")], "no finalizer but its own"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*OF_NAMESPACES, *OF_OBJECTS, *OF_TENANTS])
def test_a_thief_edits_nothing_beyond_its_bounds(thief: Account, case: str) -> None:
    kind, name, operations, says = (OF_NAMESPACES | OF_OBJECTS | OF_TENANTS)[case]
    space = "" if kind in ("namespace", "tenant") else SPACE
    refusal = thief.patch(kind, name, space, *operations)
    assert says in refusal
    assert "relay-operator-bounds" in refusal


def _three_steps(thief: Account) -> list[str]:
    pod: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "evil", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "evil", "image": "evil"}], "hostPID": True},
    }
    return [
        thief.create(scene.binding("kube-system")),
        thief.ask("get", "secrets", "-n", "kube-system"),
        thief.create(pod),
    ]


def _deleted(thief: Account) -> list[str]:
    return [thief.ask("delete", "namespace", name) for name in ("kube-system", STRANGER, SYSTEM)]


def _as_others(thief: Account) -> list[str]:
    return [
        thief.ask("get", "secrets", "-A"),
        thief.ask("get", "secrets", "-A", "--as=system:admin", "--as-group=system:masters"),
        thief.ask("create", "token", "default", "-n", "kube-system"),
        thief.ask("create", "token", "relay", "-n", SPACE),
        thief.ask(
            "create",
            "--raw",
            f"/api/v1/namespaces/{SPACE}/pods/x/exec?command=sh",
            "-f",
            "-",
            stdin={},
        ),
    ]


def _of_the_policies(thief: Account) -> list[str]:
    kind = "validatingadmissionpolicy"
    return [
        thief.ask("delete", kind, "relay-operator-bounds"),
        thief.ask("delete", f"{kind}binding", "relay-operator-bounds"),
        thief.ask("delete", "clusterrolebinding", "relay-operator-one-per-cluster"),
        thief.patch("clusterrole", "relay-operator-tenant", "", ("replace", "/rules", [])),
    ]


def _what_people_ask(thief: Account) -> list[str]:
    return [
        thief.patch("tenant", "robbed", "", ("replace", "/spec/suspend", True)),
        thief.ask("delete", "tenant", "robbed"),
        thief.ask("delete", "crd", "tenants.relay-operator.dev"),
    ]


@pytest.mark.parametrize(
    "way", [_three_steps, _deleted, _as_others, _of_the_policies, _what_people_ask]
)
def test_every_step_of_a_way_out_is_refused(
    thief: Account, way: Callable[[Account], list[str]]
) -> None:
    for refusal in way(thief):
        assert "orbidden" in refusal, refusal


def test_a_tenants_own_secret_is_not_the_operators_to_change(
    thief: Account, kubectl: Client
) -> None:
    kubectl.apply(a_secret("relay-tls", SPACE, stringData={"tls.crt": "c"}))
    change = ("add", "/data", {"tls.crt": "ZXZpbA=="})
    assert "its own Secrets" in thief.patch("secret", "relay-tls", SPACE, change)
    assert "its own Secrets" in thief.ask("delete", "secret", "relay-tls", "-n", SPACE)


def test_no_other_account_is_bound(kubectl: Client, thief: Account) -> None:
    others = scene.somebody(kubectl, "admin", "system:masters")
    assert others.create(named(scene.binding("kube-system"), "evil"), dry=True) == ""
    assert others.create(a_namespace("evil", level="privileged", uid=""), dry=True) == ""
    assert OPERATOR not in others.flags
