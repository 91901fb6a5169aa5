"""What people and other operators try to write in a tenant's namespace."""

import json
from collections.abc import Callable
from typing import Any

from tests.contract.admission_scene import Account, Manifest

SPACE = "relay-kept"
RBAC = "rbac.authorization.k8s.io"

Attempt = Callable[[Account], str]


def binding(name: str, role: str, group: str) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": SPACE},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": group, "apiGroup": RBAC}],
    }


def an_object(version: str, kind: str, name: str, **fields: Any) -> Manifest:
    metadata = {"name": name, "namespace": SPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | fields


def policy(name: str) -> Manifest:
    spec: Manifest = {"podSelector": {}, "ingress": [{}], "egress": [{}]}
    return an_object("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def route(name: str) -> Manifest:
    spec = {"stable": {"provider": "legacy"}}
    return an_object("relay-operator.dev/v1alpha1", "RelayRoute", name, spec=spec)


def template(policy: str = "Always") -> Manifest:
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


def report(kind: str, name: str, **fields: Any) -> Attempt:
    """Writes the status of an object, as network plugins and load balancers do."""
    return lambda who: who.report(kind, name, SPACE, fields)


MANAGED = {"app.kubernetes.io/managed-by": "relay-operator"}
POD = "wired"
ENDPOINTS: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ciliumendpoints.cilium.io"},
    "spec": {
        "group": "cilium.io",
        "names": {"kind": "CiliumEndpoint", "plural": "ciliumendpoints"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v2",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
"""What a network plugin keeps of each pod, with the pod's labels."""


def pod(name: str) -> Manifest:
    """Returns a pod as a tenant's relays are."""
    made = an_object("v1", "Pod", name, spec={**template()["spec"], "serviceAccountName": "relay"})
    return made | {"metadata": {**made["metadata"], "labels": MANAGED}}


def endpoint(name: str) -> Manifest:
    made = an_object("cilium.io/v2", "CiliumEndpoint", name)
    return made | {"metadata": {**made["metadata"], "labels": MANAGED}}


_LABELLED = {"app": "evil"}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u-1"}
_ANNOUNCED = {
    "type": "example.test/Announced",
    "status": "True",
    "reason": "Told",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
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
    "another network policy": create(policy("open")),
    "a network policy edited": patch("networkpolicy", "relay", ("add", "/spec/ingress", [{}])),
    "a network policy deleted": ask("delete", "networkpolicy", "default-deny"),
    "all network policies deleted": ask("delete", "networkpolicies", "--all"),
    "a pod": create(an_object("v1", "Pod", "evil", spec=template()["spec"])),
    "a Deployment": create(
        an_object("apps/v1", "Deployment", "evil", spec={"selector": {"matchLabels": _LABELLED}, "template": template()})
    ),
    "a Job": create(an_object("batch/v1", "Job", "evil", spec={"template": template("Never")})),
    "a CronJob": create(
        an_object("batch/v1", "CronJob", "evil", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template("Never")}}})
    ),
    "a ReplicationController": create(
        an_object("v1", "ReplicationController", "evil", spec={"selector": _LABELLED, "template": template()})
    ),
    "the Deployment's image": patch("deployment", "relay", ("replace", "/spec/template/spec/containers/0/image", "evil")),
    "the Deployment's scale": ask("scale", "deployment/relay", "--replicas=9"),
    "the Deployment restarted": ask("rollout", "restart", "deployment/relay"),
    "the Deployment deleted": ask("delete", "deployment", "relay"),
    "a RoleBinding": create(binding("more", "view", "anybody")),
    "the operator's RoleBinding": ask("delete", "rolebinding", "relay-operator"),
    "a RoleBinding of its own relabelled": patch("rolebinding", "wrong-edit", ("add", "/metadata/labels", {"a": "b"})),
    "a Role": create(an_object(f"{RBAC}/v1", "Role", "more", rules=[])),
    "a ServiceAccount": create(an_object("v1", "ServiceAccount", "evil")),
    "the relay's ServiceAccount": patch("serviceaccount", "relay", ("replace", "/automountServiceAccountToken", True)),
    "a token of the relay's ServiceAccount": raw("serviceaccounts/relay/token", _TOKEN),
    "a Service": create(an_object("v1", "Service", "evil", spec={"externalIPs": ["10.96.0.1"], "ports": [{"port": 443}]})),
    "the Service's selector": patch("service", "relay", ("replace", "/spec/selector", _LABELLED)),
    "the labels of a pod, as a part of the status": report("pod", POD, metadata={"labels": {"app": "evil"}}),
    "the labels of the Service, as a part of the status": report("service", "relay", metadata={"labels": {"app": "evil"}}),
    "the owner of the Service, as a part of the status": report("service", "relay", metadata={"ownerReferences": [OWNER]}),
    "the annotations of a pod": patch("pod", POD, ("add", "/metadata/annotations", {"a": "b"})),
    "the status of the Deployment": report("deployment", "relay", status={"observedGeneration": 1000}),
    "addresses of the Service": create(an_object("discovery.k8s.io/v1", "EndpointSlice", "evil", **_SLICE)),
    "an Ingress": create(an_object("networking.k8s.io/v1", "Ingress", "evil", spec=_INGRESS)),
    "an autoscaler": create(an_object("autoscaling/v2", "HorizontalPodAutoscaler", "evil", spec=_SCALER)),
    "a disruption budget": create(an_object("policy/v1", "PodDisruptionBudget", "evil", spec=_BUDGET)),
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
    "a Secret": create(an_object("v1", "Secret", "relay-tls", stringData={"tls.crt": "c"})),
    "that Secret edited": patch("secret", "relay-tls", ("replace", "/data", {"tls.crt": "ZXZpbA=="})),
    "a ConfigMap": create(an_object("v1", "ConfigMap", "bundle", data={"ca.crt": "c"})),
    "a quota": create(an_object("v1", "ResourceQuota", "few", spec={"hard": {"pods": "9"}})),
    "what a network plugin tells of a pod": report(
        "pod", POD, metadata={"annotations": {"cni.projectcalico.org/podIP": "10.1.2.3/32"}}
    ),
    "what a load balancer tells of the Service": report("service", "relay", status={"conditions": [_ANNOUNCED]}),
    "what a network plugin keeps of a pod": create(endpoint("wired")),
    "a Lease": create(an_object("coordination.k8s.io/v1", "Lease", "mine", spec={})),
    "the status of a route": ask("patch", "relayroute", "chat", "--subresource=status", "--type=merge", "-p", _STATUS),
    "a label of the namespace": patch("namespace", SPACE, ("add", "/metadata/labels/cost-center", "42"), space=""),
}  # fmt: skip
"""What takes rights in the whole cluster, in this order."""
