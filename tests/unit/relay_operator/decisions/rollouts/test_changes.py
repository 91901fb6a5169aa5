"""Changes of one tenant's pods: whose they are, to whom their rollout counts, and when trouble lasts."""

from typing import Any

import pytest

from relay_operator.decisions import tenant_conditions
from relay_operator.decisions.rollouts import changes, waves
from relay_operator.decisions.rollouts.changes import Change, Patience
from relay_operator.decisions.rollouts.deployments import Cause, Note, Rollout, rollout_of
from relay_operator.decisions.rollouts.waves import Judgement
from relay_operator.decisions.tenant_conditions import Provisioned
from relay_operator.names import ConditionType, Reason

GIVEN = Note(own="a", template="t1")


def a_rollout(**parts: Any) -> Rollout:
    usual: dict[str, Any] = {"uid": "u", "note": GIVEN, "is_done": True, "progress": (1, 1, 1)}
    return Rollout(**usual | parts)


@pytest.mark.parametrize(
    ("rollout", "template", "own", "expected"),
    [
        (None, "t1", "a", Change.TENANT),
        (a_rollout(), "t1", "a", Change.NONE),
        (a_rollout(), "t1", "b", Change.NONE),
        (a_rollout(), "t2", "b", Change.TENANT),
        (a_rollout(), "t2", "a", Change.PLATFORM),
        # what is not known is no edit
        (a_rollout(), "t2", "", Change.PLATFORM),
        (a_rollout(note=Note()), "t2", "a", Change.PLATFORM),
    ],
)
def test_a_change_is_the_tenants_only_if_its_spec_shapes_the_pods_otherwise(
    rollout: Rollout | None, template: str, own: str, expected: Change
) -> None:
    assert changes.change_of(rollout, template=template, own=own) is expected


@pytest.mark.parametrize(
    ("change", "cause", "is_done", "expected"),
    [
        (Change.PLATFORM, Cause.TENANT, True, Cause.PLATFORM),
        (Change.TENANT, Cause.PLATFORM, True, Cause.TENANT),
        (Change.NONE, Cause.PLATFORM, True, Cause.PLATFORM),
        (Change.TENANT, Cause.PLATFORM, False, Cause.PLATFORM),
        (Change.TENANT, Cause.TENANT, False, Cause.TENANT),
    ],
)
def test_what_the_platform_left_unproven_stays_the_platforms(
    change: Change, cause: Cause, is_done: bool, expected: Cause
) -> None:
    assert changes.cause_of(change, a_rollout(cause=cause, is_done=is_done)) is expected


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        (a_rollout(), Judgement.WAITING),
        (a_rollout(progress=(1, 1, 0)), Judgement.AILING),
        (a_rollout(is_done=False), Judgement.AILING),
        (a_rollout(is_done=False, cause=Cause.PLATFORM), Judgement.OVERTAKEN),
    ],
)
def test_who_does_not_work_before_the_change_is_told_apart(
    rollout: Rollout, expected: Judgement
) -> None:
    assert waves.judge(changes.facts_before(rollout)) is expected


def test_trouble_counts_once_it_has_lasted_and_begins_anew_with_every_pod_that_comes_up() -> None:
    patience, rolling = Patience(), a_rollout(is_done=False)
    patience.look(rolling, "", 0)
    patience.look(rolling, "no image", 100)
    # what a pod is told of between two attempts
    patience.look(rolling, "", 120)
    assert (patience.is_over(129), patience.seconds_left(129)) == (False, 1)
    assert (patience.is_over(130), patience.seconds_left(130)) == (True, 0)
    assert patience.trouble == "no image"
    patience.look(a_rollout(is_done=False, progress=(2, 2, 1)), "no image", 131)
    assert not patience.is_over(131)


def test_a_deployment_is_done_for_its_newest_template_alone() -> None:
    def read(**status: Any) -> Rollout:
        conditions = [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]
        usual = {
            "observedGeneration": 2,
            "replicas": 1,
            "updatedReplicas": 1,
            "conditions": conditions,
        }
        metadata = {"uid": "u", "generation": 2}
        return rollout_of({"metadata": metadata, "spec": {}, "status": usual | status})

    assert read().is_done
    assert not read(observedGeneration=1).is_done
    assert not read(updatedReplicas=0).is_done
    late = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]
    assert (read(conditions=late).is_done, read(conditions=late).is_late) == (False, True)
    assert not read(conditions=[]).is_done


def test_a_quota_without_room_is_told_although_the_former_pods_serve() -> None:
    words = 'FailedCreate: pods "relay-1" is forbidden: exceeded quota: tight, requested: pods=1'
    found = Provisioned(ready_pods=1, pods=1, acknowledged_pods=1, troubles=(words,))
    told = {one.type: one for one in tenant_conditions.conditions(found)}
    available = told[ConditionType.RELAY_AVAILABLE]
    assert (available.status, available.reason) == ("False", Reason.QUOTA_EXCEEDED)
    assert "exceeded quota: tight" in available.message
    assert told[ConditionType.READY].status == "True"
