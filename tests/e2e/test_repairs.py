"""On the real cluster: what is deleted or edited among a tenant's objects is undone, whether the operator runs or not."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.e2e.test_tenancy import apply

SPACE = "relay-mended"
SECONDS = 15.0
OPERATOR = ("deployment/relay-operator", "-n", "relay-system")

DELETIONS = [
    ("rolebinding", "relay-operator"),
    ("networkpolicy", "default-deny"),
    ("serviceaccount", "relay"),
    ("configmap", "relay-document"),
    ("service", "relay"),
    ("poddisruptionbudget", "relay"),
]
SECRETS = [("secret", "relay-upstream"), ("secret", "relay-api-keys")]

PORT = "/spec/ports/0/port"
CONTAINER = {"name": "evil", "image": "evil"}
EDITS: list[tuple[str, str, str, str, Any]] = [
    ("networkpolicy", "default-deny", "add", "/spec/ingress", [{}]),
    ("service", "relay", "replace", PORT, 9999),
    ("deployment", "relay", "add", "/spec/template/spec/containers/-", CONTAINER),
    ("rolebinding", "relay-operator", "replace", "/subjects/0/namespace", "evil"),
    ("serviceaccount", "relay", "replace", "/automountServiceAccountToken", True),
    ("poddisruptionbudget", "relay", "replace", "/spec/maxUnavailable", 0),
    ("configmap", "relay-document", "add", "/immutable", True),
    ("namespace", SPACE, "replace", "/metadata/labels/pod-security.kubernetes.io~1enforce", "privileged"),
]  # fmt: skip
NAMES = [f"{kind}/{name}" for kind, name, *_ in EDITS]


@pytest.fixture(scope="module")
def mended(staged: Cluster) -> Iterator[Cluster]:
    """Creates the tenant mended."""
    apply(staged, "Tenant", "mended", {})
    _ready(staged)
    yield staged
    staged.kubectl("scale", *OPERATOR, "--replicas=1")
    staged.kubectl("delete", "tenant", "mended", "--wait=false")


def _ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", "tenant/mended", "--for=condition=Ready", "--timeout=90s")


def _where(kind: str) -> tuple[str, ...]:
    return () if kind == "namespace" else ("-n", SPACE)


def _intended(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    """Returns what an object says without its history, and without addresses that a new one gets anew."""
    body = cluster.get(kind, name, *_where(kind))
    spec = body.get("spec", {})
    for address in ("clusterIP", "clusterIPs"):
        spec.pop(address, None)
    labels = body["metadata"].get("labels")
    rest = {field: body[field] for field in body.keys() - {"metadata", "status"}}
    return rest | {"labels": labels}


def _notes(cluster: Cluster) -> str:
    events = cluster.get("events.events.k8s.io", "-n", "default")["items"]
    return "\n".join(event["note"] for event in events if event.get("reason") == "Restored")


def _edit(cluster: Cluster, kind: str, name: str, operation: str, path: str, value: Any) -> None:
    patch = json.dumps([{"op": operation, "path": path, "value": value}])
    cluster.kubectl("patch", kind, name, *_where(kind), "--type=json", "-p", patch)


def _restored(cluster: Cluster, before: dict[str, dict[str, Any]]) -> None:
    def look() -> dict[str, dict[str, Any]]:
        found = {}
        for label in before:
            kind, name = label.split("/")
            listed = cluster.get(kind, *_where(kind))["items"]
            if any(one["metadata"]["name"] == name for one in listed):
                found[label] = _intended(cluster, kind, name)
        return found

    wait_until("everything as it was", look, lambda seen: seen == before, seconds=SECONDS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "name"), DELETIONS)
def test_a_deleted_object_is_created_again(mended: Cluster, kind: str, name: str) -> None:
    before = {f"{kind}/{name}": _intended(mended, kind, name)}
    mended.kubectl("delete", kind, name, "-n", SPACE)
    _restored(mended, before)
    told = f"{SPACE}/{name} had been deleted and was created again"
    wait_until("an Event", lambda: _notes(mended), lambda notes: told in notes, seconds=SECONDS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "name", "operation", "path", "value"), EDITS, ids=NAMES)
def test_an_edit_is_undone_and_told(
    mended: Cluster, kind: str, name: str, operation: str, path: str, value: Any
) -> None:
    before = {f"{kind}/{name}": _intended(mended, kind, name)}
    _edit(mended, kind, name, operation, path, value)
    _restored(mended, before)
    told = f"{name} had been " + ("deleted" if path == "/immutable" else "changed by field manager")
    wait_until("an Event", lambda: _notes(mended), lambda notes: told in notes, seconds=SECONDS)


@pytest.mark.timeout(180)
def test_what_was_done_while_the_operator_was_down_is_undone(mended: Cluster) -> None:
    _ready(mended)
    before = {
        f"{kind}/{name}": _intended(mended, kind, name)
        for kind, name in (*DELETIONS, SECRETS[0], *((kind, name) for kind, name, *_ in EDITS))
    }
    mended.kubectl("scale", *OPERATOR, "--replicas=0")
    mended.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=relay-operator",
                   "-n", "relay-system", "--timeout=60s")  # fmt: skip
    edited = [edit for edit in EDITS if edit[0] in ("networkpolicy", "service", "deployment", "namespace")]  # fmt: skip
    for edit in edited:
        _edit(mended, *edit)
    for kind, name in (*SECRETS, *(one for one in DELETIONS if one[0] not in ("networkpolicy", "service"))):  # fmt: skip
        mended.kubectl("delete", kind, name, "-n", SPACE)
    mended.kubectl("scale", *OPERATOR, "--replicas=1")
    mended.kubectl("rollout", "status", *OPERATOR, "--timeout=60s")
    del before["configmap/relay-document"]  # composed anew, with another generation
    _restored(mended, before)
    _ready(mended)
    notes = _notes(mended)
    for kind in ("NetworkPolicy", "Service", "Deployment"):
        assert f"{kind} {SPACE}/" in notes
    assert "new keys, which callers need" in notes


@pytest.mark.timeout(240)
def test_a_deleted_namespace_is_created_again_and_serves(mended: Cluster) -> None:
    mended.kubectl("delete", "namespace", SPACE, "--timeout=120s")
    started = time.monotonic()
    found = wait_until(
        "the namespace",
        lambda: mended.kubectl("get", "namespaces", "-o", "name"),
        lambda listed: f"namespace/{SPACE}\n" in listed + "\n",
        seconds=SECONDS,
    )
    assert found
    assert time.monotonic() - started < SECONDS
    _ready(mended)
