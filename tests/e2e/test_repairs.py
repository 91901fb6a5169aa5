"""On the real cluster: what is deleted or edited among a tenant's objects is undone, whether the operator runs or not."""

import json
import re
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
    ("networkpolicy", "relay"),
    ("deployment", "relay"),
    ("service", "relay"),
    ("poddisruptionbudget", "relay"),
]
SECRETS = [("secret", "relay-upstream"), ("secret", "relay-api-keys")]

PORT = "/spec/ports/0/port"
CONTAINER = {"name": "evil", "image": "evil"}
EDITS: list[tuple[str, str, str, str, Any]] = [
    ("networkpolicy", "default-deny", "add", "/spec/ingress", [{}]),
    ("networkpolicy", "relay", "add", "/spec/egress/-", {}),
    ("service", "relay", "replace", PORT, 9999),
    ("deployment", "relay", "add", "/spec/template/spec/containers/-", CONTAINER),
    ("rolebinding", "relay-operator", "replace", "/subjects/0/namespace", "evil"),
    ("serviceaccount", "relay", "replace", "/automountServiceAccountToken", True),
    ("poddisruptionbudget", "relay", "replace", "/spec/maxUnavailable", 0),
    ("configmap", "relay-document", "add", "/immutable", True),
    ("namespace", SPACE, "replace", "/metadata/labels/pod-security.kubernetes.io~1enforce", "privileged"),
]  # fmt: skip
SECRET_EDITS: list[tuple[str, str, str, str, Any]] = [
    ("secret", "relay-upstream", "add", "/immutable", True),
]
STRANGERS: list[dict[str, Any]] = [
    {
        "kind": "RoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "relay-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "relay-tenant"},
    },
    {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "relay"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {"metadata": {"labels": {"app": "other"}}, "spec": {"containers": [CONTAINER]}},
        },
    },
    {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "relay"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    },
]  # fmt: skip
"""Objects of our names with fields that can never be changed to ours: they can only be made anew."""
NAMES = [f"{kind}/{name}" for kind, name, *_ in EDITS]


SECONDS_TAKEN: dict[str, float] = {}
"""From the end of kubectl's change until kubectl shows the object as it was, by what was done to it."""


@pytest.fixture(scope="module")
def mended(staged: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Creates the tenant mended. Prints at the end how long repairs took: within 2 s is asserted in virtual time, by the unit tests."""
    apply(staged, "Tenant", "mended", {})
    _ready(staged)
    yield staged
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    taken = ", ".join(f"{what} {seconds:.1f}" for what, seconds in SECONDS_TAKEN.items())
    terminal.write_line(f"\nrestored after seconds, with kubectl's own: {taken}")
    staged.kubectl("scale", *OPERATOR, "--replicas=1")
    staged.kubectl("delete", "tenant", "mended", "--wait=false")


def _ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", "tenant/mended", "--for=condition=Ready", "--timeout=90s")


def _where(kind: str) -> tuple[str, ...]:
    return () if kind == "namespace" else ("-n", SPACE)


def _intended(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    return _said(cluster.get(kind, name, *_where(kind)))


def _said(body: dict[str, Any]) -> dict[str, Any]:
    """Returns what an object says without its history, and without addresses that a new one gets anew."""
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
    cluster.break_glass("patch", kind, name, *_where(kind), "--type=json", "-p", patch)


def _told(kind: str, name: str, path: str) -> str:
    """Returns the pattern of the Event that tells of an edit. What may never change back is replaced."""
    label = name if kind == "namespace" else f"{SPACE}/{name}"
    if path == "/immutable":
        return f"(?i){kind} {label} had been changed by field manager kubectl.*was replaced"
    return f"(?i){kind} {label} had been changed by field manager kubectl"


def _stop(cluster: Cluster) -> None:
    cluster.kubectl("scale", *OPERATOR, "--replicas=0")
    pods = ("pod", "-l", "app.kubernetes.io/name=relay-operator", "-n", "relay-system")
    cluster.kubectl("wait", "--for=delete", *pods, "--timeout=60s")


def _start(cluster: Cluster) -> None:
    cluster.kubectl("scale", *OPERATOR, "--replicas=2")
    cluster.kubectl("rollout", "status", *OPERATOR, "--timeout=60s")


def _restored(cluster: Cluster, before: dict[str, dict[str, Any]], *, what: str) -> None:
    started = time.monotonic()

    def look() -> dict[str, dict[str, Any]]:
        found = {}
        for label in before:
            kind, name = label.split("/")
            # one that is replaced is gone for a moment
            for one in cluster.get(kind, *_where(kind))["items"]:
                if one["metadata"]["name"] == name:
                    found[label] = _said(one)
        return found

    wait_until("everything as it was", look, lambda seen: seen == before, seconds=SECONDS)
    SECONDS_TAKEN[what] = time.monotonic() - started


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "name"), DELETIONS)
def test_a_deleted_object_is_created_again(mended: Cluster, kind: str, name: str) -> None:
    before = {f"{kind}/{name}": _intended(mended, kind, name)}
    mended.break_glass("delete", kind, name, "-n", SPACE)
    _restored(mended, before, what=f"{kind}/{name} deleted")
    told = f"{SPACE}/{name} had been deleted and was created again"
    wait_until("an Event", lambda: _notes(mended), lambda notes: told in notes, seconds=SECONDS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "name", "operation", "path", "value"), EDITS, ids=NAMES)
def test_an_edit_is_undone_and_told(
    mended: Cluster, kind: str, name: str, operation: str, path: str, value: Any
) -> None:
    before = {f"{kind}/{name}": _intended(mended, kind, name)}
    _edit(mended, kind, name, operation, path, value)
    _restored(mended, before, what=f"{kind}/{name} edited")
    told = _told(kind, name, path)
    wait_until(
        "an Event",
        lambda: _notes(mended),
        lambda notes: bool(re.search(told, notes)),
        seconds=SECONDS,
    )


@pytest.mark.timeout(240)
def test_whatever_was_edited_while_the_operator_was_down_is_undone_and_told(
    mended: Cluster,
) -> None:
    _ready(mended)
    edits = [*EDITS, *SECRET_EDITS]
    before = {f"{kind}/{name}": _intended(mended, kind, name) for kind, name, *_ in edits}
    _stop(mended)
    # Events of the tests before say the same
    mended.kubectl("delete", "events.events.k8s.io", "--all", "-n", "default")
    for edit in edits:
        _edit(mended, *edit)
    strangers = json.dumps({"apiVersion": "v1", "kind": "List", "items": STRANGERS})
    mended.break_glass("replace", "--force", "-n", SPACE, "-f", "-", stdin=strangers)
    _start(mended)
    del before["configmap/relay-document"]  # composed anew, with another generation
    _restored(mended, before, what="all edits, after the start of the operator")
    _ready(mended)
    notes = _notes(mended)
    for kind, name, _, path, _ in edits:
        assert re.search(_told(kind, name, path), notes), f"no Event of {kind}/{name} in:\n{notes}"
    for one in STRANGERS:
        told = (
            f"{one['kind']} {SPACE}/{one['metadata']['name']} had been changed by .* was replaced"
        )
        assert re.search(f"(?i){told}", notes), f"{told}\n{notes}"


@pytest.mark.timeout(240)
def test_whatever_was_deleted_while_the_operator_was_down_is_created_again(mended: Cluster) -> None:
    _ready(mended)
    deletions = [*DELETIONS, *SECRETS]
    before = {f"{kind}/{name}": _intended(mended, kind, name) for kind, name in deletions}
    _stop(mended)
    mended.kubectl("delete", "events.events.k8s.io", "--all", "-n", "default")
    for kind, name in deletions:
        mended.break_glass("delete", kind, name, "-n", SPACE)
    _start(mended)
    for composed_anew in ("configmap/relay-document", "secret/relay-api-keys"):
        del before[composed_anew]
    _restored(mended, before, what="all deletions, after the start of the operator")
    _ready(mended)
    notes = _notes(mended)
    for _, name in deletions:
        assert f"{SPACE}/{name} had been deleted and was created again" in notes
    assert "new keys, which callers need" in notes


@pytest.mark.timeout(240)
def test_a_deleted_namespace_is_created_again_and_serves(mended: Cluster) -> None:
    mended.break_glass("delete", "namespace", SPACE, "--timeout=120s")
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


@pytest.mark.timeout(60)
def test_the_log_holds_no_error_that_no_status_or_event_tells(mended: Cluster) -> None:
    """Reads the log of the operator's last life, which ended with a deleted namespace."""
    lines = mended.kubectl("logs", *OPERATOR, "--tail=-1").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert [one for one in records if one["level"] in ("ERROR", "CRITICAL")] == []
    told = "\n".join(
        event.get("note", "") for event in mended.get("events.events.k8s.io", "-A")["items"]
    )
    for record in records:
        # what the API server refused for good needs a person; anything else is tried again
        why = record.get("why", "")
        if re.search(r": 4\d\d ", why) and not re.search(r": (409|429) ", why):
            assert why[:200] in told, record
