"""All that the operator has to do is within the bounds of its account: done with its own code and token on a real API server."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract import admission_scene as scene
from tests.contract.admission_scene import Account, Manifest

from relay_operator import names
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import ApiServerRefused
from relay_operator.manifests import namespace
from relay_operator.reconcile.tenancy import finalizers

POD = "/spec/template/spec"
OWNERS = "/metadata/ownerReferences"
LABELS = "/metadata/labels"
POD_SECURITY = f"{LABELS}/pod-security.kubernetes.io~1enforce"
STAMP = "/metadata/annotations/relay-operator.dev~1tenant-uid"
EVIL = {"name": "evil", "image": "evil"}
MORE = {"kind": "User", "name": "thief", "apiGroup": "rbac.authorization.k8s.io"}


OF_THE_PLATFORM = (
    "admission.namespaceLabels.team=platform",
    "admission.namespaceAnnotations.example\\.com/seen=*",
    "admission.relayPriorityClasses[0]=tenants",
)


@pytest.fixture(scope="module")
def operator(
    kubectl: Client, helm: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("operator")
    with scene.operator(kubectl, helm, directory, *OF_THE_PLATFORM) as account:
        yield account


def breaker_of(kubectl: Client) -> Account:
    """Returns somebody in the break-glass group, who does what policies refuse to others."""
    return scene.somebody(kubectl, "on-call", "system:masters", scene.BREAK_GLASS)


def test_the_operator_does_all_its_work_within_the_bounds(
    operator: Account, kubectl: Client
) -> None:
    owner = scene.a_tenant(kubectl, "provisioned")
    space = "relay-provisioned"
    manifests = scene.home_of(owner)
    try:
        for _ in range(2):
            scene.make_home(operator, manifests)
        # what a foreign hand took away from the stamp is put back after the owner, and the other way round
        breaker = breaker_of(kubectl)
        for path in (STAMP, OWNERS):
            assert breaker.patch("namespace", space, "", ("remove", path, None)) == ""
            assert operator.apply(manifests[0]) == ""
        # a Deployment that a change of the image has not reached yet is scaled meanwhile
        image = f"{POD}/containers/0/image"
        assert breaker.patch("deployment", "relay", space, ("replace", image, "relays:old")) == ""
        assert (
            operator.patch("deployment", "relay", space, ("add", "/spec/minReadySeconds", 1)) == ""
        )
        # what mutating admission of the platform sets is let through, and no other
        for priority, is_let_through in (("tenants", True), ("system-node-critical", False)):
            change = ("add", f"{POD}/priorityClassName", priority)
            assert (operator.patch("deployment", "relay", space, change) == "") is is_let_through
        # an object that can only be made anew
        for kind, name in (
            ("deployment", "relay"),
            ("service", "relay"),
            ("configmap", "relay-document"),
            ("secret", "relay-upstream"),
            ("rolebinding", "relay-operator"),
        ):
            assert operator.ask("delete", kind, name, "-n", space) == ""
            [again] = [
                one for one in manifests if (one["kind"].lower(), one["metadata"]["name"]) == (kind, name)
            ]  # fmt: skip
            assert operator.apply(again) == ""
    finally:
        kubectl("delete", "tenant", "provisioned")
    kubectl("wait", "--for=delete", f"namespace/{space}", "--timeout=60s")


def _foreign_edits() -> list[tuple[str, str, str, str, Any]]:
    """Returns what somebody can do to each kind of object by one JSON patch operation."""
    return [
        ("namespace", "relay-mended", "replace", POD_SECURITY, "privileged"),
        ("namespace", "relay-mended", "remove", STAMP, None),
        ("networkpolicy", "default-deny", "add", "/spec/ingress", [{}]),
        ("deployment", "relay", "add", f"{POD}/containers/-", EVIL),
        ("deployment", "relay", "add", f"{POD}/hostNetwork", True),
        ("service", "relay", "add", "/spec/externalIPs", ["10.1.2.3"]),
        ("rolebinding", "relay-operator", "add", "/subjects/-", MORE),
        ("serviceaccount", "relay", "replace", "/automountServiceAccountToken", True),
        ("poddisruptionbudget", "relay", "replace", "/spec/maxUnavailable", 0),
        ("configmap", "relay-document", "remove", "/metadata/labels", None),
        ("secret", "relay-upstream", "remove", "/metadata/labels", None),
        ("secret", "relay-upstream", "add", "/immutable", True),
    ]


async def test_the_operator_undoes_foreign_edits_within_the_bounds(
    operator: Account, kubectl: Client
) -> None:
    """Undoing takes a field over before it takes it away, so that one write still has what the bounds forbid."""
    breaker = breaker_of(kubectl)
    manifests = scene.home_of(scene.a_tenant(kubectl, "mended"))
    edits = _foreign_edits()
    async with scene.api_server(operator) as api:
        for manifest in manifests:
            await OwnedObjects(api).apply(manifest)
            scene.until_bound(operator, manifest)
        told = {"status": {"observedGeneration": 1}}
        await api.patch("Tenant", "mended", told, subresource="status")
        # and its finalizer comes and goes beside those of others
        held = (
            '{"metadata": {"finalizers": ["platform.test/kept"], "labels": {"team": "payments"}}}'
        )
        kubectl("patch", "tenant", "mended", "--type=merge", "-p", held)
        for bring in (finalizers.ensure, finalizers.remove):
            await bring(api, kubectl.json("get", "tenant", "mended"))
        left = kubectl.json("get", "tenant", "mended")["metadata"]
        assert left["finalizers"] == ["platform.test/kept"]
        kubectl(
            "patch", "tenant", "mended", "--type=merge", "-p", '{"metadata": {"finalizers": null}}'
        )
        for kind, name, operation, path, value in edits:
            space = "" if kind == "namespace" else "relay-mended"
            assert breaker.patch(kind, name, space, (operation, path, value)) == ""
        for manifest in manifests:
            key = manifest["kind"].lower(), manifest["metadata"]["name"]
            assert await OwnedObjects(api).apply(manifest) == any(key == edit[:2] for edit in edits)
    kubectl("delete", "tenant", "mended")


@pytest.mark.parametrize("spec", [{}, {"deletionPolicy": "Retain"}], ids=["created", "retained"])
async def test_a_namespace_is_created_and_given_back_within_the_bounds(
    operator: Account, kubectl: Client, spec: Manifest
) -> None:
    owner = scene.a_tenant(kubectl, "lent", **spec)
    manifest = namespace.namespace(owner, stamp="signed")
    name = manifest["metadata"]["name"]
    async with scene.api_server(operator) as api:
        created = await api.create(manifest)
        await api.patch("Namespace", name, namespace.as_applied(created))
        await OwnedObjects(api).apply(namespace.namespace(owner))
        # all marks but the labels were taken away by somebody
        breaker = breaker_of(kubectl)
        assert breaker.patch("namespace", name, "", ("remove", "/metadata/annotations", None)) == ""
        await OwnedObjects(api).apply(namespace.namespace(owner))
        live = await api.get("Namespace", name)
        assert live is not None
        assert live["metadata"]["annotations"][names.ANNOTATION_TENANT_UID] == owner.metadata.uid
        await api.patch("Namespace", name, namespace.release(live, owner))
        # and what was given back is not the operator's to take again
        with pytest.raises(ApiServerRefused, match="not the operator's to take"):
            await OwnedObjects(api).apply(namespace.namespace(owner))
    kubectl("delete", "tenant", "lent")
    kubectl("delete", "namespace", name, "--timeout=60s")


async def test_a_namespace_that_the_platform_offers_is_adopted_and_given_back_within_the_bounds(
    operator: Account, kubectl: Client
) -> None:
    owner = scene.a_tenant(kubectl, "guest", namespacePolicy="Adopt")
    manifest = namespace.namespace(owner, is_offered=True)
    name = manifest["metadata"]["name"]
    metadata = {
        "name": name,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted", "team": "payments"},
        "annotations": {names.ANNOTATION_TENANT: "guest", "owner": "platform"},
    }
    async with scene.api_server(operator) as api:
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        await OwnedObjects(api).apply(manifest)
        await OwnedObjects(api).apply(scene.binding(name))
        # a backup brings the stamp of another life
        stale = ("replace", STAMP, "of-another-life")
        assert breaker_of(kubectl).patch("namespace", name, "", stale) == ""
        await OwnedObjects(api).apply(manifest)
        live = await api.get("Namespace", name)
        assert live is not None
        await api.patch("Namespace", name, namespace.release(live, owner))
    # whoever steals the token has no owner set, by which the garbage collector would take it
    gone = [namespace.owner(owner) | {"uid": "gone"}]
    stamped = ("add", STAMP, "gone")
    assert "relay-operator-bounds" in operator.patch(
        "namespace", name, "", stamped, ("add", OWNERS, gone)
    )
    kubectl("delete", "tenant", "guest")
    kubectl("delete", "namespace", name, "--timeout=60s")


@contextmanager
def mutating(kubectl: Client, **labels: str) -> Iterator[None]:
    """Lets the platform set labels, and an annotation of its own, on every namespace that is written."""
    fields = ", ".join(f'"{name}": "{value}"' for name, value in labels.items())
    annotation = f'"example.com/seen": "at {next(_TIMES)}"'
    expression = f"Object{{metadata: Object.metadata{{labels: {{{fields}}}, annotations: {{{annotation}}}}}}}"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["namespaces"],
    }
    version, metadata = "admissionregistration.k8s.io/v1", {"name": "of-the-platform"}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
        ],
    }
    kinds = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
    kubectl.apply(
        {"apiVersion": version, "kind": kinds[0], "metadata": metadata, "spec": spec},
        {
            "apiVersion": version,
            "kind": kinds[1],
            "metadata": metadata,
            "spec": {"policyName": metadata["name"]},
        },
    )
    try:
        _until(kubectl, labels, are_set=True)
        yield
    finally:
        for kind in kinds:
            kubectl("delete", kind, metadata["name"])
        _until(kubectl, labels, are_set=False)


_TIMES = itertools.count()


def _until(kubectl: Client, labels: dict[str, str], *, are_set: bool) -> None:
    """Waits for what the API server makes of a new or a deleted policy, which takes a moment."""
    deadline = time.monotonic() + scene.SECONDS
    while True:
        text = kubectl("create", "namespace", "any", "--dry-run=server", "-o", "json")
        found = json.loads(text)["metadata"].get("labels", {})
        if (labels.items() <= found.items()) == are_set:
            return
        assert time.monotonic() < deadline, f"the labels of a new namespace are {found}"
        time.sleep(0.2)


async def test_what_mutating_admission_of_the_platform_sets_on_a_namespace_blocks_no_tenant(
    operator: Account, kubectl: Client
) -> None:
    owner = scene.a_tenant(kubectl, "marked")
    manifest = namespace.namespace(owner, stamp="signed")
    name = manifest["metadata"]["name"]
    async with scene.api_server(operator) as api:
        # a value that the chart's values do not name
        refused = pytest.raises(ApiServerRefused, match=r"admission\.namespaceLabels")
        with mutating(kubectl, team="evil"), refused:
            await api.create(manifest)
        with mutating(kubectl, team="platform"):
            created = await api.create(manifest)
            assert created["metadata"]["labels"]["team"] == "platform"
            await api.patch("Namespace", name, namespace.as_applied(created))
            children = OwnedObjects(api)
            await children.apply(manifest)
            # what is not ours is left alone, whatever the operator's life
            assert not await children.apply(manifest)
            assert not await OwnedObjects(api).apply(manifest)
            live = await api.get("Namespace", name)
            assert live is not None
            assert live["metadata"]["labels"]["team"] == "platform"
            assert "example.com/seen" in live["metadata"]["annotations"]
    # who steals the token sets no other value, and nothing else
    for key, value in (("team", "evil"), ("linkerd.io~1inject", "enabled")):
        refusal = operator.patch("namespace", name, "", ("add", f"{LABELS}/{key}", value))
        assert "its own labels and annotations only" in refusal
    kubectl("delete", "tenant", "marked")
    kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=60s")
