"""Only what follows by itself while a tenant's pods come up may be told later."""

import pytest

from relay_operator.decisions import conditions, pod_progress
from relay_operator.decisions.conditions import Condition, Status
from relay_operator.names import ConditionType as Type
from relay_operator.names import Reason


def one(type_: Type, status: Status, reason: Reason, message: str = "") -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


COMING = [
    one(Type.READY, "False", Reason.PROVISIONING, "0 of 1 relay pods are ready"),
    one(Type.RELAY_AVAILABLE, "False", Reason.PROGRESSING),
    one(Type.PROGRAMMED, "False", Reason.WAITING_FOR_PODS, "0 of 1"),
    one(Type.CREDENTIALS_READY, "True", Reason.SYNCED),
    one(Type.ISOLATED, "Unknown", Reason.NOT_PROBED),
    one(Type.RECONCILING, "True", Reason.PROVISIONING),
]


def changed(*others: Condition) -> list[Condition]:
    """Returns the conditions of a tenant whose pods come up, but for these."""
    by_type = {other.type: other for other in others}
    listed = [by_type.pop(known.type, known) for known in COMING]
    return [*listed, *by_type.values()]


def is_progress(
    before: list[Condition], after: list[Condition], *, told_of: int = 1, generation: int = 1
) -> bool:
    listed = conditions.merge((), before, generation=told_of, now=0.0)
    told = {"observedGeneration": told_of, "conditions": listed}
    return pod_progress.is_all(told, after, generation=generation)


@pytest.mark.parametrize(
    "after",
    [
        changed(one(Type.PROGRAMMED, "True", Reason.ACKNOWLEDGED)),
        changed(one(Type.RELAY_AVAILABLE, "True", Reason.MINIMUM_REPLICAS_AVAILABLE)),
        changed(one(Type.READY, "False", Reason.PROVISIONING, "1 of 2 relay pods are ready")),
        changed(one(Type.CREDENTIALS_READY, "Unknown", Reason.NOT_PROBED)),
    ],
)
def test_how_far_pods_are_may_wait(after: list[Condition]) -> None:
    assert is_progress(COMING, after)


@pytest.mark.parametrize(
    "after",
    [
        COMING,
        changed(one(Type.READY, "True", Reason.AVAILABLE)),
        changed(one(Type.READY, "False", Reason.SECRET_MISSING)),
        changed(one(Type.READY, "False", Reason.WAITING_FOR_PODS)),
        changed(one(Type.CREDENTIALS_READY, "False", Reason.SECRET_MISSING)),
        changed(one(Type.ISOLATED, "False", Reason.NOT_ENFORCED)),
        changed(one(Type.ISOLATED, "True", Reason.PROBED)),
        changed(one(Type.RELAY_AVAILABLE, "False", Reason.QUOTA_EXCEEDED)),
        changed(one(Type.STALLED, "True", Reason.ROLLOUT_STUCK)),
        changed(one(Type.ROLLED_OUT, "False", Reason.ROLLOUT_STUCK)),
        changed(one(Type.RECONCILING, "False", Reason.AVAILABLE)),
    ],
)
def test_a_success_a_failure_and_nothing_new_are_no_progress(after: list[Condition]) -> None:
    assert not is_progress(COMING, after)


def test_of_a_tenant_that_was_ready_everything_is_news() -> None:
    ready = changed(one(Type.READY, "True", Reason.AVAILABLE))
    assert not is_progress(ready, COMING)


def test_a_newer_spec_is_told_of_at_once() -> None:
    after = changed(one(Type.PROGRAMMED, "True", Reason.ACKNOWLEDGED))
    assert not is_progress(COMING, after, generation=2)
    assert not is_progress([], after)
