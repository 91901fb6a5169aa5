"""A namespace is used only if the operator created it for the Tenant, or both of them say that it may be adopted."""

from typing import Any

import pytest

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.namespace_ownership import Claim, is_adopted, obstacle_of
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.names import Reason

OWNERS = [{"apiVersion": names.API_VERSION, "kind": "Tenant", "name": "finance", "uid": "t-1"}]
ADOPTABLE = {
    "annotations": {names.ANNOTATION_TENANT: "finance"},
    "labels": {names.POD_SECURITY_ENFORCE: "restricted"},
}


def a_claim(annotations: dict[str, str] | None = None, /, **claim: Any) -> Claim:
    metadata = {"name": "finance", "uid": "t-1", "annotations": annotations or {}}
    policy = claim.pop("policy", "Create")
    tenant = Tenant.parse({"metadata": metadata, "spec": {"namespacePolicy": policy}})
    return Claim(tenant=tenant, **claim)


def a_namespace(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "relay-finance", "uid": "n-1", **metadata}}


def marked(uid: str = "t-1", **metadata: Any) -> dict[str, Any]:
    return a_namespace(annotations={names.ANNOTATION_TENANT_UID: uid}, **metadata)


def test_a_free_namespace_and_the_one_that_status_names_can_be_used() -> None:
    assert obstacle_of(None, a_claim()) is None
    assert obstacle_of(a_namespace(), a_claim(anchor="n-1")) is None


def test_one_that_the_operator_created_and_status_does_not_name_yet_can_be_used() -> None:
    assert obstacle_of(a_namespace(), a_claim(is_stamped=True)) is None
    assert obstacle_of(a_namespace(), a_claim(anchor="n-0", is_stamped=True)) is None


def test_an_edit_of_whatever_it_carries_takes_no_namespace_away() -> None:
    for edited in (a_namespace(), marked("evil"), a_namespace(ownerReferences=[{"uid": "evil"}])):
        assert obstacle_of(edited, a_claim(anchor="n-1")) is None


def test_a_namespace_of_an_earlier_version_is_known_by_its_marks_if_status_calls_it_the_tenants() -> (
    None
):
    for mine in (marked(), a_namespace(ownerReferences=OWNERS)):
        assert obstacle_of(mine, a_claim(was_owned=True)) is None
    assert isinstance(obstacle_of(marked("t-0"), a_claim(was_owned=True)), Refused)


@pytest.mark.parametrize("policy", ["Create", "Adopt"])
@pytest.mark.parametrize("anchor", ["", "n-0"])
def test_copied_marks_make_no_namespace_the_tenants(policy: str, anchor: str) -> None:
    for copied in (marked(), marked(ownerReferences=OWNERS), a_namespace()):
        obstacle = obstacle_of(copied, a_claim(policy=policy, anchor=anchor))
        assert isinstance(obstacle, Refused)
        assert obstacle.reason is Reason.NAMESPACE_CONFLICT
    with_anchor = obstacle_of(marked(), a_claim(anchor="n-0", was_owned=True))
    assert isinstance(with_anchor, Refused)


def test_a_refusal_tells_how_the_namespace_could_be_adopted() -> None:
    obstacle = obstacle_of(a_namespace(), a_claim())
    assert obstacle is not None
    command = (
        "kubectl annotate --overwrite namespace relay-finance relay-operator.dev/tenant=finance"
    )
    assert command in obstacle.message
    assert "spec.namespacePolicy to Adopt" in obstacle.message


def test_an_annotated_and_restricted_namespace_is_adopted_also_with_the_uid_of_an_earlier_tenant() -> (
    None
):
    """As after a restore from a backup, or `kubectl delete --cascade=orphan`."""
    claim = a_claim(policy="Adopt")
    assert obstacle_of(a_namespace(**ADOPTABLE), claim) is None
    noted = {names.ANNOTATION_TENANT: "finance", names.ANNOTATION_TENANT_UID: "t-0"}
    assert obstacle_of(a_namespace(**ADOPTABLE | {"annotations": noted}), claim) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"annotations": {}}, "relay-operator.dev/tenant=finance"),
        ({"annotations": {names.ANNOTATION_TENANT: "fin"}}, "relay-operator.dev/tenant=finance"),
        ({"labels": {}}, "pod-security.kubernetes.io/enforce=restricted"),
        (
            {"labels": {names.POD_SECURITY_ENFORCE: "privileged"}},
            "pod-security.kubernetes.io/enforce=restricted",
        ),
        ({"ownerReferences": [OWNERS[0] | {"uid": "t-0"}]}, "Tenant finance owns it"),
        (
            {"ownerReferences": [{"kind": "Project", "name": "web", "uid": "p-1"}]},
            "Project web owns it",
        ),
    ],
)
def test_a_namespace_that_lacks_one_thing_is_not_adopted(
    changed: dict[str, Any], told: str
) -> None:
    obstacle = obstacle_of(a_namespace(**ADOPTABLE | changed), a_claim(policy="Adopt"))
    assert isinstance(obstacle, Refused)
    assert obstacle.reason is Reason.NAMESPACE_CONFLICT
    assert told in obstacle.message


def test_a_namespace_with_objects_of_others_is_not_adopted() -> None:
    strangers = ("Pod web", "NetworkPolicy open", "Pod a", "Pod b")
    obstacle = obstacle_of(a_namespace(**ADOPTABLE), a_claim(policy="Adopt", strangers=strangers))
    assert obstacle is not None
    assert "(Pod web, NetworkPolicy open, Pod a, ...)" in obstacle.message


def test_a_tenant_that_had_another_namespace_has_to_name_the_one_to_adopt() -> None:
    found = a_namespace(**ADOPTABLE)
    obstacle = obstacle_of(found, a_claim(policy="Adopt", anchor="n-0"))
    assert isinstance(obstacle, Refused)
    assert (
        "kubectl annotate --overwrite tenant finance relay-operator.dev/adopt=n-1"
        in obstacle.message
    )
    for uid, may in (("n-1", True), ("n-0", False)):
        named = a_claim({names.ANNOTATION_ADOPT: uid}, policy="Adopt", anchor="n-0")
        assert (obstacle_of(found, named) is None) == may


def test_nothing_is_created_for_a_tenant_that_adopts() -> None:
    obstacle = obstacle_of(None, a_claim(policy="Adopt"))
    assert isinstance(obstacle, Waiting)
    assert obstacle.reason is Reason.NAMESPACE_MISSING


def test_namespaces_of_the_platform_are_always_refused() -> None:
    for policy in ("Create", "Adopt"):
        claim = a_claim(policy=policy, anchor="n-1", reserved=frozenset({"relay-finance"}))
        for existing in (None, a_namespace(**ADOPTABLE)):
            obstacle = obstacle_of(existing, claim)
            assert obstacle is not None
            assert obstacle.reason is Reason.NAMESPACE_CONFLICT
            assert "belongs to the platform" in obstacle.message


def test_a_namespace_being_deleted_is_waited_for_whosever_it_was() -> None:
    for uid in ("t-1", "t-0"):
        obstacle = obstacle_of(
            marked(uid, deletionTimestamp="2026-01-01T00:00:00Z"), a_claim(anchor="n-1")
        )
        assert isinstance(obstacle, Waiting)
        assert obstacle.reason is Reason.NAMESPACE_TERMINATING


def test_a_namespace_that_is_stuck_in_deletion_says_who_holds_it() -> None:
    stuck = a_namespace(deletionTimestamp="2026-01-01T00:00:00Z")
    held = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    stuck["status"] = {
        "conditions": [
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": held},
            {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "no"},
        ]
    }
    obstacle = obstacle_of(stuck, a_claim())
    assert obstacle is not None
    assert held in obstacle.message
    assert "since 2026-01-01T00:00:00Z" in obstacle.message


def test_a_namespace_that_was_there_before_stays_adopted_whatever_the_policy_says_later() -> None:
    assert is_adopted(a_namespace(), a_claim(policy="Adopt").tenant)
    assert is_adopted(a_namespace(**ADOPTABLE), a_claim().tenant)
    assert not is_adopted(marked(), a_claim().tenant)
    assert not is_adopted(None, a_claim().tenant)
