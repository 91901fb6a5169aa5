"""Conditions: merged as the API conventions ask, and told truthfully by each kind."""

from relay_operator.decisions import route_conditions, tenant_conditions
from relay_operator.decisions.canary import Decision, Phase, State
from relay_operator.decisions.conditions import Condition, merge
from relay_operator.decisions.tenant_conditions import Findings
from relay_operator.decisions.verdict import Outcome, Verdict
from relay_operator.names import ConditionType, Reason

READY = Condition(type=ConditionType.READY, status="True", reason=Reason.AVAILABLE)


def by_type(conditions: list[Condition]) -> dict[str, tuple[str, Reason]]:
    return {one.type.value: (one.status, one.reason) for one in conditions}


def test_transition_time_moves_only_with_the_status() -> None:
    first = merge([], [READY], generation=1, now=0.0)
    again = merge(first, [READY], generation=2, now=100.0)
    assert again[0]["lastTransitionTime"] == "1970-01-01T00:00:00Z"
    assert again[0]["observedGeneration"] == 2
    failed = merge(
        again,
        [Condition(type=ConditionType.READY, status="False", reason=Reason.PROVISIONING)],
        generation=2,
        now=100.0,
    )
    assert failed[0]["lastTransitionTime"] == "1970-01-01T00:01:40Z"


def test_abnormal_conditions_are_present_only_while_true() -> None:
    calm = Condition(type=ConditionType.STALLED, status="False", reason=Reason.AVAILABLE)
    assert merge([], [READY, calm], generation=1, now=0.0)[-1]["type"] == "Ready"


def test_a_serving_tenant_is_ready_and_nothing_abnormal_shows() -> None:
    found = by_type(
        tenant_conditions.conditions(
            Findings(wanted_pods=2, ready_pods=2, pods=2, acknowledged_pods=2)
        )
    )
    assert found["Ready"] == ("True", Reason.AVAILABLE)
    assert found["Reconciling"][0] == found["Stalled"][0] == "False"


def test_a_pod_that_has_not_acknowledged_keeps_the_tenant_from_ready() -> None:
    found = by_type(
        tenant_conditions.conditions(
            Findings(wanted_pods=2, ready_pods=2, pods=2, acknowledged_pods=1)
        )
    )
    assert found["Ready"] == ("False", Reason.WAITING_FOR_PODS)
    assert found["Reconciling"][0] == "True"


def test_a_foreign_namespace_stalls_the_tenant_and_a_dying_one_does_not() -> None:
    conflict = by_type(
        tenant_conditions.conditions(Findings(refusal=Reason.NAMESPACE_CONFLICT, message="m"))
    )
    dying = by_type(
        tenant_conditions.conditions(Findings(refusal=Reason.NAMESPACE_TERMINATING, message="m"))
    )
    assert (conflict["Stalled"][0], dying["Stalled"][0]) == ("True", "False")
    assert (conflict["Ready"][0], dying["Reconciling"][0]) == ("False", "True")


def test_a_missing_provider_key_stalls_the_tenant_with_the_secrets_name() -> None:
    conditions = tenant_conditions.conditions(
        Findings(
            wanted_pods=1,
            ready_pods=1,
            pods=1,
            acknowledged_pods=1,
            missing_keys=("Secret a/b has no entry c",),
        )
    )
    ready = next(one for one in conditions if one.type is ConditionType.READY)
    assert (ready.status, ready.reason, ready.message) == (
        "False",
        Reason.SECRET_MISSING,
        "Secret a/b has no entry c",
    )


def a_route(
    phase: Phase,
    *,
    outcome: Outcome = Outcome.HEALTHY,
    measured: bool = True,
    acknowledged: int = 2,
) -> dict[str, tuple[str, Reason]]:
    decision = Decision(state=State(phase=phase), reason=Reason.AWAITING_EVIDENCE, message="m")
    verdict = Verdict(outcome=outcome, reason=Reason.NO_DATA, message="v")
    return by_type(
        route_conditions.accepted(
            decision, verdict, measured=measured, pods=2, acknowledged=acknowledged
        )
    )


def test_a_climbing_route_is_ready_and_not_reconciling() -> None:
    found = a_route(Phase.PROGRESSING)
    assert (found["Ready"][0], found["Reconciling"][0], found["WithinSLO"][0]) == (
        "True",
        "False",
        "True",
    )


def test_a_rolled_back_route_is_stalled_so_that_gitops_sees_it() -> None:
    found = a_route(Phase.ROLLED_BACK, measured=False)
    assert found["Ready"] == ("False", Reason.ROLLED_BACK)
    assert (found["Stalled"][0], found["RolledBack"][0], found["WithinSLO"][0]) == (
        "True",
        "True",
        "False",
    )


def test_an_unmeasurable_canary_is_no_breach() -> None:
    found = a_route(Phase.PROGRESSING, outcome=Outcome.UNMEASURABLE)
    assert (found["AnalysisAvailable"][0], found["WithinSLO"][0], found["Ready"][0]) == (
        "False",
        "Unknown",
        "True",
    )


def test_a_route_without_acknowledgement_is_not_programmed() -> None:
    found = a_route(Phase.STABLE, acknowledged=1)
    assert (found["Programmed"][0], found["Ready"][0], found["Reconciling"][0]) == (
        "False",
        "False",
        "True",
    )
