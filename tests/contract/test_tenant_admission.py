"""Tenants' namespaces against their own people, against admins of the namespace, and against other operators."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract import admission_scene as scene
from tests.contract.admission_scene import Account, Manifest

SPACE = "relay-kept"
KEPT = "kept by the relay-operator alone"
FAR = "good for RelayRoutes only"
POLICIES = "relay-operator-tenant-"
RBAC = "rbac.authorization.k8s.io"
WRONG_ROLES = ("admin", "edit", "everything")
"""What somebody bound in the tenant's namespace although nobody should."""

Attempt = Callable[[Account], str]


@pytest.fixture(scope="module")
def home(kubectl: Client, helm: Client) -> Iterator[str]:
    """Makes a tenant's namespace with everything in it, and binds roles there that should not be bound."""
    with scene.installed(kubectl, helm):
        breaker = break_glass(kubectl)
        kubectl.apply(
            _rights("everything", "*", "*"), _rights("makers-of-namespaces", "", "namespaces")
        )
        kubectl.apply(_bound_everywhere("other-operators", "everything"))
        kubectl.apply(_bound_everywhere("makers-of-namespaces", "makers-of-namespaces"))
        try:
            for manifest in scene.home_of(scene.a_tenant(kubectl, "kept")):
                assert breaker.apply(manifest) == ""
            scene.until_refused(cluster_admin(kubectl), _policy("open"))
            for role in WRONG_ROLES:
                assert breaker.create(_binding(f"wrong-{role}", role, _group(role))) == ""
            route = _route("chat")
            assert breaker.create(route) == ""
            yield SPACE
        finally:
            kubectl("delete", "tenant", "kept")
            kubectl("delete", "clusterrole", "everything", "makers-of-namespaces")
            kubectl("delete", "clusterrolebinding", "other-operators", "makers-of-namespaces")
    kubectl("wait", "--for=delete", f"namespace/{SPACE}", "--timeout=60s")


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


def _binding(name: str, role: str, group: str) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": SPACE},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": group, "apiGroup": RBAC}],
    }


def _object(version: str, kind: str, name: str, **fields: Any) -> Manifest:
    metadata = {"name": name, "namespace": SPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | fields


def _policy(name: str) -> Manifest:
    spec: Manifest = {"podSelector": {}, "ingress": [{}], "egress": [{}]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _route(name: str) -> Manifest:
    spec = {"stable": {"provider": "legacy"}}
    return _object("relay-operator.dev/v1alpha1", "RelayRoute", name, spec=spec)


def _template(policy: str = "Always") -> Manifest:
    """Returns a pod that pod security lets pass."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "evil", "image": "evil", "securityContext": security}
    pod = {
        "containers": [container],
        "restartPolicy": policy,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    return {"metadata": {"labels": {"app": "evil"}}, "spec": pod}


def create(manifest: Manifest) -> Attempt:
    return lambda who: who.create(manifest)


def ask(*arguments: str) -> Attempt:
    return lambda who: who.ask(*arguments, "-n", SPACE)


def patch(kind: str, name: str, *operations: tuple[str, str, Any], space: str = SPACE) -> Attempt:
    return lambda who: who.patch(kind, name, space, *operations)


def raw(path: str, manifest: Manifest) -> Attempt:
    """Posts a manifest to a subresource of the namespace's objects."""
    url = f"/api/v1/namespaces/{SPACE}/{path}"
    return lambda who: who.ask("create", "--raw", url, "-f", "-", stdin=manifest)


_LABELLED = {"app": "evil"}
_SLICE = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": []}
_BUDGET = {"maxUnavailable": 0, "selector": {}}
_SCALER = {
    "maxReplicas": 50,
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "relay"},
}
_INGRESS = {"defaultBackend": {"service": {"name": "relay", "port": {"number": 8080}}}}
_TOKEN: Manifest = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
POD_SECURITY = "/metadata/labels/pod-security.kubernetes.io~1enforce"

OF_THE_OPERATOR: dict[str, Attempt] = {
    "another network policy": create(_policy("open")),
    "a network policy edited": patch("networkpolicy", "relay", ("add", "/spec/ingress", [{}])),
    "a network policy deleted": ask("delete", "networkpolicy", "default-deny"),
    "all network policies deleted": ask("delete", "networkpolicies", "--all"),
    "a pod": create(_object("v1", "Pod", "evil", spec=_template()["spec"])),
    "a Deployment": create(
        _object("apps/v1", "Deployment", "evil", spec={"selector": {"matchLabels": _LABELLED}, "template": _template()})
    ),
    "a Job": create(_object("batch/v1", "Job", "evil", spec={"template": _template("Never")})),
    "a CronJob": create(
        _object("batch/v1", "CronJob", "evil", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": _template("Never")}}})
    ),
    "a ReplicationController": create(
        _object("v1", "ReplicationController", "evil", spec={"selector": _LABELLED, "template": _template()})
    ),
    "the Deployment's image": patch("deployment", "relay", ("replace", "/spec/template/spec/containers/0/image", "evil")),
    "the Deployment's scale": ask("scale", "deployment/relay", "--replicas=9"),
    "the Deployment restarted": ask("rollout", "restart", "deployment/relay"),
    "the Deployment deleted": ask("delete", "deployment", "relay"),
    "a RoleBinding": create(_binding("more", "view", "anybody")),
    "the operator's RoleBinding": ask("delete", "rolebinding", "relay-operator"),
    "a RoleBinding of its own relabelled": patch("rolebinding", "wrong-edit", ("add", "/metadata/labels", {"a": "b"})),
    "a Role": create(_object(f"{RBAC}/v1", "Role", "more", rules=[])),
    "a ServiceAccount": create(_object("v1", "ServiceAccount", "evil")),
    "the relay's ServiceAccount": patch("serviceaccount", "relay", ("replace", "/automountServiceAccountToken", True)),
    "a token of the relay's ServiceAccount": raw("serviceaccounts/relay/token", _TOKEN),
    "a Service": create(_object("v1", "Service", "evil", spec={"externalIPs": ["10.96.0.1"], "ports": [{"port": 443}]})),
    "the Service's selector": patch("service", "relay", ("replace", "/spec/selector", _LABELLED)),
    "addresses of the Service": create(_object("discovery.k8s.io/v1", "EndpointSlice", "evil", **_SLICE)),
    "an Ingress": create(_object("networking.k8s.io/v1", "Ingress", "evil", spec=_INGRESS)),
    "an autoscaler": create(_object("autoscaling/v2", "HorizontalPodAutoscaler", "evil", spec=_SCALER)),
    "a disruption budget": create(_object("policy/v1", "PodDisruptionBudget", "evil", spec=_BUDGET)),
    "the document": patch("configmap", "relay-document", ("replace", "/data", {"relay.json": "{}"})),
    "the document's label taken away": patch("configmap", "relay-document", ("remove", "/metadata/labels", None)),
    "the API keys": patch("secret", "relay-api-keys", ("replace", "/data", {"default": "ZXZpbA=="})),
    "the providers' keys deleted": ask("delete", "secret", "relay-upstream"),
    "the pod security": patch("namespace", SPACE, ("replace", POD_SECURITY, "privileged"), space=""),
    "the owner": patch("namespace", SPACE, ("remove", "/metadata/ownerReferences", None), space=""),
    "the stamp": patch("namespace", SPACE, ("remove", "/metadata/annotations", None), space=""),
    "the tenant's label": patch("namespace", SPACE, ("remove", "/metadata/labels/relay-operator.dev~1tenant", None), space=""),
    "the label, as a part of the status": lambda who: who.ask(
        "patch", "namespace", SPACE, "--subresource=status", "--type=json",
        "-p", json.dumps([{"op": "replace", "path": POD_SECURITY, "value": "privileged"}]),
    ),
    "the namespace deleted": lambda who: who.ask("delete", "namespace", SPACE, "--wait=false"),
    "the namespace finalized": lambda who: who.ask(
        "replace", "--raw", f"/api/v1/namespaces/{SPACE}/finalize", "-f", "-", stdin=_NAMESPACE
    ),
}  # fmt: skip
"""What is refused whoever asks, but for the operator, the cluster's controllers and the break-glass group."""

_NAMESPACE: Manifest = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": SPACE},
    "spec": {"finalizers": []},
}
_STATUS = '{"status":{"phase":"Promoted"}}'

OF_THE_PLATFORM: dict[str, Attempt] = {
    "a Secret": create(_object("v1", "Secret", "relay-tls", stringData={"tls.crt": "c"})),
    "that Secret edited": patch("secret", "relay-tls", ("replace", "/data", {"tls.crt": "ZXZpbA=="})),
    "a ConfigMap": create(_object("v1", "ConfigMap", "bundle", data={"ca.crt": "c"})),
    "a quota": create(_object("v1", "ResourceQuota", "few", spec={"hard": {"pods": "9"}})),
    "a claim of a volume": create(
        _object("v1", "PersistentVolumeClaim", "disk", spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})
    ),
    "a Lease": create(_object("coordination.k8s.io/v1", "Lease", "mine", spec={})),
    "the status of a route": ask("patch", "relayroute", "chat", "--subresource=status", "--type=merge", "-p", _STATUS),
    "a label of the namespace": patch("namespace", SPACE, ("add", "/metadata/labels/cost-center", "42"), space=""),
}  # fmt: skip
"""What takes rights in the whole cluster, in this order."""


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
    made = ("secret/relay-tls", "configmap/bundle", "resourcequota/few", "pvc/disk", "lease/mine")
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
    bound = create(_binding("people", "relay-tenant", "kept"))
    assert FAR in bound(namespace_admin(kubectl, "everything"))
    assert bound(cluster_admin(kubectl)) == ""
    tenant = scene.somebody(kubectl, "ann", "kept", "system:authenticated")
    assert tenant.create(_route("mine")) == ""
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
    dry = ("create", "--dry-run=server", "-f", "-")
    assert "relay-operator-tenant-namespaces" in forger.ask(*dry, stdin=marked)
    unmarked = {**marked, "metadata": {"name": "relay-forged"}}
    assert forger.ask(*dry, stdin=unmarked) == ""
    # restored from a backup, or offered for adoption
    assert cluster_admin(kubectl).ask(*dry, stdin=marked) == ""


def test_other_namespaces_are_nobodys_concern(kubectl: Client, home: str, namespace: str) -> None:
    who = scene.somebody(kubectl, "root", "system:masters")
    policy = _policy("open") | {"metadata": {"name": "open", "namespace": namespace}}
    assert who.create(policy) == ""
    assert who.patch("namespace", namespace, "", ("add", "/metadata/labels/a", "b")) == ""


def test_a_policy_that_fails_or_is_gone_does_not_hold_up_the_operator(
    kubectl: Client, home: str, tmp_path: Path
) -> None:
    operator = scene.with_token(
        kubectl, kubectl("create", "token", "relay-operator", "-n", scene.SYSTEM).strip(), tmp_path
    )
    policy = "relay-operator-tenant-objects"
    failing = ("replace", "/spec/validations/0/expression", "object.no.such.field == 1")
    assert cluster_admin(kubectl).patch("validatingadmissionpolicy", policy, "", failing) == ""
    harmless = _object("v1", "ConfigMap", "harmless", data={})
    assert "no such key" in scene.until_refused(cluster_admin(kubectl), harmless)
    owner = scene.a_tenant(kubectl, "kept")
    for manifest in scene.home_of(owner):
        assert operator.apply(manifest) == ""
    kubectl("delete", "validatingadmissionpolicy", policy)
    kubectl("delete", "validatingadmissionpolicybinding", policy)
    for manifest in scene.home_of(owner):
        assert operator.apply(manifest) == ""
