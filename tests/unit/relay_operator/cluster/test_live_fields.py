"""Live objects agree with their manifests by the fields that are ours, and by nothing that somebody else put there."""

from typing import Any

import pytest
from tests.unit.relay_operator.child_scenarios import children
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator import names
from relay_operator.cluster import live_fields

SPACE = "space"
OURS = (names.FIELD_MANAGER, "Apply")


def applied(kind: str, name: str) -> tuple[InMemoryApiServer, dict[str, Any]]:
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    manifest = children(SPACE)[kind, name]
    server.apply(manifest, OURS)
    return server, manifest


def test_an_object_agrees_with_the_manifest_that_was_applied() -> None:
    for kind, name in children(SPACE):
        server, manifest = applied(kind, name)
        live = server.stored(kind, name, namespace=SPACE)
        assert live_fields.compare(live, manifest) == live_fields.Comparison(agrees=True)
        assert live_fields.taken_over(live, manifest) is None


def test_quantities_are_equal_however_they_are_spelt() -> None:
    server, manifest = applied("Deployment", "relay")
    live = server.stored("Deployment", "relay", namespace=SPACE)
    limits = live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1000m", "memory": "2048Mi"}
    limits |= {"cpu": "1", "memory": "2Gi"}
    assert live_fields.compare(live, manifest).agrees
    limits["memory"] = "3Gi"
    assert not live_fields.compare(live, manifest).agrees


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_nobody_hides_behind_our_field_manager(operation: str) -> None:
    server, manifest = applied("NetworkPolicy", "default-deny")
    opened = {**manifest, "spec": {**manifest["spec"], "ingress": [{}]}}
    if operation == "Apply":
        server.apply(opened, OURS)
    else:
        server.put(opened, manager=names.FIELD_MANAGER)
    live = server.stored("NetworkPolicy", "default-deny", namespace=SPACE)
    assert not live_fields.compare(live, manifest).agrees


def test_an_object_whose_managed_fields_were_wiped_does_not_agree() -> None:
    server, manifest = applied("Service", "relay")
    live = server.stored("Service", "relay", namespace=SPACE)
    live["metadata"]["managedFields"] = []
    assert not live_fields.compare(live, manifest).agrees


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("ServiceAccount", ("imagePullSecrets",)),
        ("ServiceAccount", ("secrets",)),
        ("Deployment", ("metadata", "annotations", "deployment.kubernetes.io/revision")),
        (
            "Deployment",
            ("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"),
        ),
    ],
)
def test_what_controllers_and_people_may_set_is_left_to_them(
    kind: str, path: tuple[str, ...]
) -> None:
    server, manifest = applied(kind, "relay")
    live = server.stored(kind, "relay", namespace=SPACE)
    *parents, last = path
    place = live
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = "theirs"
    theirs = server.put(live, manager="controller")
    assert live_fields.compare(theirs, manifest).agrees
    assert live_fields.taken_over(theirs, manifest) is None


def test_fields_that_are_taken_over_leave_their_manager_with_the_rest() -> None:
    server, manifest = applied("Service", "relay")
    live = server.stored("Service", "relay", namespace=SPACE)
    live["spec"]["externalIPs"] = ["192.0.2.1"]
    live["metadata"]["annotations"] = {"note": "theirs"}
    theirs = server.put(live, manager="others")
    found = live_fields.compare(theirs, manifest)
    assert (found.agrees, found.managers) == (False, ("others",))
    taken = live_fields.taken_over(theirs, manifest)
    assert taken is not None
    fields = {entry["manager"]: entry["fieldsV1"] for entry in taken}
    assert fields["others"] == {"f:metadata": {"f:annotations": {"f:note": {}}}}
    assert "f:externalIPs" in fields[names.FIELD_MANAGER]["f:spec"]
    assert "f:ports" in fields[names.FIELD_MANAGER]["f:spec"]
