"""A namespace is used only if it is free or carries the Tenant's UID."""

from typing import Any

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.namespace_ownership import obstacle_of
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.names import Reason

TENANT = Tenant.parse({"metadata": {"name": "finance", "uid": "t-1"}, "spec": {}})


def a_namespace(uid: str | None = "t-1", **metadata: Any) -> dict[str, Any]:
    annotations = {names.ANNOTATION_TENANT_UID: uid} if uid else {}
    return {"metadata": {"name": "relay-finance", "annotations": annotations, **metadata}}


def test_a_free_namespace_and_the_tenants_own_can_be_used() -> None:
    assert obstacle_of(None, TENANT) is None
    assert obstacle_of(a_namespace(), TENANT) is None


def test_an_edit_of_the_annotation_or_the_owner_alone_takes_no_namespace_away() -> None:
    owners = [{"apiVersion": names.API_VERSION, "kind": "Tenant", "name": "finance", "uid": "t-1"}]
    for uid in (None, "evil"):
        assert obstacle_of(a_namespace(uid, ownerReferences=owners), TENANT) is None
    others = [owners[0] | {"uid": "t-0"}]
    assert obstacle_of(a_namespace("t-1", ownerReferences=others), TENANT) is None
    assert isinstance(obstacle_of(a_namespace("t-0", ownerReferences=others), TENANT), Refused)


def test_a_namespace_without_the_tenants_uid_needs_a_person() -> None:
    for foreign in (a_namespace("t-0"), a_namespace(None), {"metadata": {"name": "relay-finance"}}):
        obstacle = obstacle_of(foreign, TENANT)
        assert isinstance(obstacle, Refused)
        assert obstacle.reason is Reason.NAMESPACE_CONFLICT


def test_a_namespace_being_deleted_is_waited_for_whosever_it_was() -> None:
    for uid in ("t-1", "t-0"):
        obstacle = obstacle_of(a_namespace(uid, deletionTimestamp="2026-01-01T00:00:00Z"), TENANT)
        assert isinstance(obstacle, Waiting)
        assert obstacle.reason is Reason.NAMESPACE_TERMINATING
