"""What others do to the operator's objects, and that one apply undoes it, as scenarios for any API server.

A unit test runs them against the in-memory server, a contract test against a real one, with its defaults and checks.
"""

import json
from typing import Any, Protocol

from tests.unit.relay_operator.manifests.policy_cases import PLATFORM, a_tenant

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.manifests import capacity, credentials, tenant, workload
from relay_operator.manifests import namespace as namespaces

Manifest = dict[str, Any]
BEFORE_FIRST_APPLY = "before-first-apply"
"""What the API server calls the manager of fields that an object without managedFields has at its first apply."""
TEMPLATE = "/spec/template/spec"
CONTAINER = f"{TEMPLATE}/containers/0"
EVIL = {"name": "evil", "image": "evil"}


class Others(Protocol):
    """Somebody else at the same API server."""

    async def edit(self, kind: str, name: str, operations: list[Manifest], *, space: str) -> None:
        """Applies a JSON patch (RFC 6902) under a field manager that is not the operator's."""


def children(space: str) -> dict[tuple[str, str], Manifest]:
    """Returns every object of a tenant but its namespace, as in a namespace of that name."""
    made = a_tenant({"relay": {"resources": {"limits": {"cpu": "1000m", "memory": "2048Mi"}}}})
    manifests = (
        namespaces.operator_binding(made, PLATFORM),
        *tenant.isolation(made, PLATFORM, []),
        *tenant.bounds(made),
        credentials.upstream_keys(made, {"p": "key"}),
        credentials.document_configmap(made, "{}"),
        *tenant.relay(made, workload.deployment(made, PLATFORM)),
        _autoscaler(),
    )
    return {
        (one["kind"], one["metadata"]["name"]): one
        | {"metadata": one["metadata"] | {"namespace": space}}
        for one in manifests
    }


def _autoscaler() -> Manifest:
    made = capacity.autoscaler(a_tenant({"relay": {"autoscaling": {"maxReplicas": 3}}}))
    assert made is not None
    return made


def _add(path: str, value: Any) -> list[Manifest]:
    return [{"op": "add", "path": path, "value": value}]


def _remove(path: str) -> list[Manifest]:
    return [{"op": "remove", "path": path}]


_LABEL = "/metadata/labels/" + names.LABEL_MANAGED_BY.replace("/", "~1")

EDITS: dict[str, tuple[str, str, list[Manifest]]] = {
    "a policy that denies all is opened": ("NetworkPolicy", "default-deny", _add("/spec/ingress", [{}])),
    "a policy is opened by one who wipes the traces": (
        "NetworkPolicy",
        "default-deny",
        [*_add("/spec/ingress", [{}]), *_add("/metadata/managedFields", [{}])],
    ),
    "a policy is opened": ("NetworkPolicy", "relay", _add("/spec/ingress/-", {})),
    "a policy selects other pods": (
        "NetworkPolicy",
        "default-deny",
        _add("/spec/podSelector/matchLabels", {"app": "evil"}),
    ),
    "a policy forgets a direction": ("NetworkPolicy", "default-deny", _remove("/spec/policyTypes/1")),
    "a label is removed": ("NetworkPolicy", "relay", _remove(_LABEL)),
    "replicas": ("Deployment", "relay", _add("/spec/replicas", 7)),
    "a container is added": ("Deployment", "relay", _add(f"{TEMPLATE}/containers/-", EVIL)),
    "a first container is added": ("Deployment", "relay", _add(f"{TEMPLATE}/containers/0", EVIL)),
    "an init container is added": ("Deployment", "relay", _add(f"{TEMPLATE}/initContainers", [EVIL])),
    "a variable is added": (
        "Deployment",
        "relay",
        _add(f"{CONTAINER}/env/-", {"name": "HTTPS_PROXY", "value": "evil"}),
    ),
    "variables from a Secret": (
        "Deployment",
        "relay",
        _add(f"{CONTAINER}/envFrom", [{"secretRef": {"name": "evil"}}]),
    ),
    "a variable is changed": ("Deployment", "relay", _add(f"{CONTAINER}/env/0/value", "evil")),
    "a variable is removed": ("Deployment", "relay", _remove(f"{CONTAINER}/env/3")),
    "arguments": ("Deployment", "relay", _add(f"{CONTAINER}/args", ["evil"])),
    "a probe is removed": ("Deployment", "relay", _remove(f"{CONTAINER}/livenessProbe")),
    "a probe is changed": ("Deployment", "relay", _add(f"{CONTAINER}/livenessProbe/timeoutSeconds", 9)),
    "the image": ("Deployment", "relay", _add(f"{CONTAINER}/image", "evil")),
    "a limit": ("Deployment", "relay", _add(f"{CONTAINER}/resources/limits/memory", "3Gi")),
    "a capability": (
        "Deployment",
        "relay",
        _add(f"{CONTAINER}/securityContext/capabilities/add", ["NET_BIND_SERVICE"]),
    ),
    "the host's network": ("Deployment", "relay", _add(f"{TEMPLATE}/hostNetwork", True)),
    "a volume": (
        "Deployment",
        "relay",
        _add(f"{TEMPLATE}/volumes/-", {"name": "evil", "hostPath": {"path": "/"}}),
    ),
    "a node": ("Deployment", "relay", _add(f"{TEMPLATE}/nodeSelector", {"evil": "yes"})),
    "a label of pods": ("Deployment", "relay", _add("/spec/template/metadata/labels/evil", "yes")),
    "a stopped rollout": ("Deployment", "relay", _add("/spec/paused", True)),
    "a deadline that has a default": ("Deployment", "relay", _add("/spec/progressDeadlineSeconds", 5)),
    "a port number": ("Service", "relay", _add("/spec/ports/0/port", 9999)),
    "the port of pods": ("Service", "relay", _add("/spec/ports/0/targetPort", 9999)),
    "a port is added": ("Service", "relay", _add("/spec/ports/-", {"name": "evil", "port": 8081})),
    "another port of the same name": (
        "Service",
        "relay",
        [
            {"op": "replace", "path": "/spec/ports/0/name", "value": "old"},
            {"op": "add", "path": "/spec/ports/-", "value": {"name": "traffic", "port": 8081}},
        ],
    ),
    "a selector": ("Service", "relay", _add("/spec/selector/evil", "yes")),
    "an address": ("Service", "relay", _add("/spec/externalIPs", ["192.0.2.1"])),
    "a type": ("Service", "relay", _add("/spec/type", "NodePort")),
    "a budget": ("PodDisruptionBudget", "relay", _add("/spec/maxUnavailable", 0)),
    "a budget of another kind": (
        "PodDisruptionBudget",
        "relay",
        [*_remove("/spec/maxUnavailable"), *_add("/spec/minAvailable", 1)],
    ),
    "a quota": ("ResourceQuota", "relay", _add("/spec/hard/pods", "99")),
    "a quota for something else": ("ResourceQuota", "relay", _add("/spec/hard/secrets", "1")),
    "a bound of containers": ("LimitRange", "relay", _add("/spec/limits/0/max/memory", "9Gi")),
    "a further bound": ("LimitRange", "relay", _add("/spec/limits/-", {"type": "Pod", "max": {"cpu": "1m"}})),
    "the most pods": ("HorizontalPodAutoscaler", "relay", _add("/spec/maxReplicas", 9)),
    "what is aimed at": (
        "HorizontalPodAutoscaler",
        "relay",
        _add("/spec/metrics/0/resource/target/averageUtilization", 1),
    ),
    "a subject": (
        "RoleBinding",
        "relay-operator",
        _add("/subjects/-", {"kind": "ServiceAccount", "name": "evil", "namespace": "evil"}),
    ),
    "no subjects": ("RoleBinding", "relay-operator", _remove("/subjects")),
    "a token": ("ServiceAccount", "relay", _add("/automountServiceAccountToken", True)),
    "another document": ("ConfigMap", "relay-document", _add("/data/relay.json", "[]")),
    "an entry": ("ConfigMap", "relay-document", _add("/data/evil", "yes")),
    "no data": ("ConfigMap", "relay-document", _remove("/data")),
    "a document that nobody can change": ("ConfigMap", "relay-document", _add("/immutable", True)),
    "another key": ("Secret", "relay-upstream", _add("/data/p", "ZXZpbA==")),
    "a further key": ("Secret", "relay-upstream", _add("/data/evil", "ZXZpbA==")),
    "a key that nobody can change": ("Secret", "relay-upstream", _add("/immutable", True)),
}  # fmt: skip
"""What somebody else does, to an object, as a JSON patch."""


async def an_edit_is_undone(api: ApiServer, others: Others, space: str, name: str) -> None:
    """Asserts that one apply brings the object back, and that it is then left alone by every life of the operator."""
    kind, child, operations = EDITS[name]
    manifest = children(space)[kind, child]
    await OwnedObjects(api).apply(manifest)
    before = await _seen(api, manifest)
    await others.edit(kind, child, operations, space=space)
    assert await _seen(api, manifest) != before
    operator = OwnedObjects(api)
    assert await operator.apply(manifest)
    assert await _seen(api, manifest) == before
    # what was only removed names nobody, and is no restoration to an operator that did not see it
    for restoration in operator.take_restored(space):
        assert restoration.managers in (("others",), (BEFORE_FIRST_APPLY,))
    assert not await OwnedObjects(api).apply(manifest)


async def every_child_agrees_with_its_manifest(api: ApiServer, space: str) -> None:
    """Asserts that a child costs one write, and none by the same or a later life of the operator."""
    operator = OwnedObjects(api)
    for manifest in children(space).values():
        assert [await operator.apply(manifest) for _ in range(2)] == [True, False]
        assert not await OwnedObjects(api).apply(manifest), manifest["kind"]


async def a_scaled_deployment_keeps_its_pods(api: ApiServer, others: Others, space: str) -> None:
    """Asserts that the number of pods is the operator's, then another's, then the operator's again, and never 1 between."""
    fixed = children(space)["Deployment", "relay"]
    fixed = {**fixed, "spec": {**fixed["spec"], "replicas": 3}}
    unsaid = {name: value for name, value in fixed["spec"].items() if name != "replicas"}
    scaled = {**fixed, "spec": unsaid}
    made = {**fixed, "spec": {**unsaid, "replicas": 2}}

    async def pods() -> int:
        body = await api.get("Deployment", "relay", namespace=space)
        assert body is not None
        return int(body["spec"]["replicas"])

    operator = OwnedObjects(api)
    await operator.apply(fixed)
    assert await operator.apply(scaled, first=made)
    assert await pods() == 3
    await others.edit("Deployment", "relay", _add("/spec/replicas", 5), space=space)
    for later in (operator, OwnedObjects(api)):
        await later.apply(scaled, first=made)
        assert await pods() == 5
    assert not await OwnedObjects(api).apply(scaled, first=made)
    await operator.apply(fixed)
    assert await pods() == 3
    assert not [one for one in operator.take_restored(space) if not one.was_missing]
    body = await api.get("Deployment", "relay", namespace=space)
    assert body is not None
    await api.delete("Deployment", "relay", namespace=space, uid=body["metadata"]["uid"])
    new = OwnedObjects(api)
    await new.apply(scaled, first=made)
    assert await pods() == 2
    assert not await new.apply(scaled, first=made)


async def _seen(api: ApiServer, manifest: Manifest) -> Any:
    """Returns the object without what differs by itself."""
    metadata = manifest["metadata"]
    body = await api.get(manifest["kind"], metadata["name"], namespace=metadata["namespace"])
    assert body is not None
    rest = {name: value for name, value in body.items() if name not in ("metadata", "status")}
    for address in ("clusterIP", "clusterIPs"):
        rest.get("spec", {}).pop(address, None)
    # labels and annotations of theirs are left to others
    fields = {
        (entry["manager"], entry["operation"]): left
        for entry in body["metadata"].get("managedFields", ())
        if not entry.get("subresource")
        and (left := {name: of for name, of in entry["fieldsV1"].items() if name != "f:metadata"})
    }
    labels = body["metadata"].get("labels")
    return json.loads(json.dumps([rest, labels, sorted(fields.items())]))
