"""Conditions: merged as the API conventions ask, and true for each kind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions import provider_conditions, route_conditions, tenant_conditions
from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.decisions.canary.state import Decision, Phase, State
from relay_operator.decisions.conditions import Condition, merge, not_accepted, with_grace
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting, obstacle_of
from relay_operator.decisions.provider_conditions import Configured
from relay_operator.decisions.route_acceptance import Decided
from relay_operator.decisions.route_status import Programmed
from relay_operator.decisions.tenant_conditions import Interrupted, Provisioned, was_ready
from relay_operator.errors import ApiServerRefused, Unavailable
from relay_operator.names import ConditionType, Reason

READY = Condition(type=ConditionType.READY, status="True", reason=Reason.AVAILABLE)
SERVING = Provisioned(wanted_pods=2, ready_pods=2, pods=2, acknowledged_pods=2)
REFUSED = obstacle_of(ApiServerRefused("PATCH NetworkPolicy: 422 invalid", status=422))
UNAVAILABLE = obstacle_of(Unavailable("GET Secret: the API server cannot be reached"))


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
    found = by_type(tenant_conditions.conditions(SERVING))
    assert found["Ready"] == ("True", Reason.AVAILABLE)
    assert found["Reconciling"][0] == found["Stalled"][0] == "False"


def test_a_suspended_tenant_is_ready_and_says_that_its_calls_are_refused() -> None:
    suspended = Provisioned(
        wanted_pods=1, ready_pods=1, pods=1, acknowledged_pods=1, suspended=True
    )
    ready = tenant_conditions.conditions(suspended)[0]
    assert (ready.status, ready.reason) == ("True", Reason.SUSPENDED)
    assert "calls are refused" in ready.message


def test_a_pod_that_has_not_acknowledged_keeps_the_tenant_from_ready() -> None:
    found = by_type(
        tenant_conditions.conditions(
            Provisioned(wanted_pods=2, ready_pods=2, pods=2, acknowledged_pods=1)
        )
    )
    assert found["Ready"] == ("False", Reason.WAITING_FOR_PODS)
    assert found["Reconciling"][0] == "True"


def test_a_tenant_whose_pods_start_is_provisioning() -> None:
    found = by_type(tenant_conditions.conditions(Provisioned(wanted_pods=2, ready_pods=1, pods=2)))
    assert found["Ready"] == ("False", Reason.PROVISIONING)
    assert found["RelayAvailable"] == ("False", Reason.PROGRESSING)


def test_a_namespace_of_somebody_else_stalls_the_tenant_and_one_being_deleted_does_not() -> None:
    conflict = by_type(
        tenant_conditions.conditions(Refused(reason=Reason.NAMESPACE_CONFLICT, message="m"))
    )
    dying = by_type(
        tenant_conditions.conditions(Waiting(reason=Reason.NAMESPACE_TERMINATING, message="m"))
    )
    assert (conflict["Stalled"][0], dying["Stalled"][0]) == ("True", "False")
    assert (conflict["Ready"][0], dying["Reconciling"][0]) == ("False", "True")
    assert conflict["NamespaceReady"][0] == dying["NamespaceReady"][0] == "False"


def test_a_spec_that_cannot_be_read_says_nothing_about_the_namespace() -> None:
    found = by_type(tenant_conditions.conditions(Refused(reason=Reason.INVALID_SPEC, message="m")))
    assert found["NamespaceReady"] == ("Unknown", Reason.INVALID_SPEC)
    assert (found["Ready"][0], found["Stalled"][0]) == ("False", "True")


def test_a_missing_provider_key_stalls_the_tenant_with_the_secrets_name() -> None:
    conditions = tenant_conditions.conditions(
        Provisioned(
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


def interrupted(
    obstacle: Obstacle, *, was_ready: bool = True, owned: bool | None = True
) -> list[Condition]:
    return tenant_conditions.conditions(
        Interrupted(obstacle=obstacle, was_ready=was_ready, owned=owned, found=SERVING)
    )


def test_a_refused_child_stalls_the_tenant_with_the_api_servers_words() -> None:
    conditions = interrupted(REFUSED)
    found = by_type(conditions)
    assert found["Ready"] == found_reason("False", REFUSED)
    assert found["Stalled"] == found_reason("True", REFUSED)
    assert found["Reconciling"][0] == "False"
    assert conditions[0].message == "PATCH NetworkPolicy: 422 invalid"


def test_what_an_interrupted_reconcile_did_not_look_at_is_unknown() -> None:
    found = by_type(interrupted(REFUSED))
    assert found["CredentialsReady"][0] == found["Isolated"][0] == "Unknown"
    assert found["NamespaceReady"] == ("True", Reason.OWNED)
    assert found["RelayAvailable"][0] == found["Programmed"][0] == "True"
    assert by_type(interrupted(REFUSED, owned=None))["NamespaceReady"][0] == "Unknown"


@pytest.mark.parametrize(("was_ready", "status"), [(True, "True"), (False, "False")])
def test_an_unavailable_api_server_takes_ready_only_from_a_spec_that_was_never_in_force(
    was_ready: bool, status: str
) -> None:
    found = by_type(interrupted(UNAVAILABLE, was_ready=was_ready))
    assert found["Ready"][0] == status
    assert found["Reconciling"] == found_reason("True", UNAVAILABLE)
    assert found["Stalled"][0] == "False"


def found_reason(status: str, obstacle: Obstacle) -> tuple[str, Reason]:
    return status, obstacle.reason


def test_a_spec_was_in_force_if_ready_was_true_for_its_generation() -> None:
    status = {"conditions": merge([], [READY], generation=3, now=0.0)}
    assert was_ready(status, generation=3)
    assert not was_ready(status, generation=4)
    assert not was_ready({}, generation=1)


PODS = Programmed(generation=1, pods=2, acknowledged=2)


def a_route(
    phase: Phase,
    *,
    outcome: Outcome = Outcome.HEALTHY,
    measured: bool = True,
    acknowledged: int = 2,
    obstacle: Obstacle | None = None,
) -> dict[str, tuple[str, Reason]]:
    decision = Decision(state=State(phase=phase), reason=Reason.AWAITING_EVIDENCE, message="m")
    verdict = Verdict(outcome=outcome, reason=Reason.NO_DATA, message="v")
    return by_type(
        route_conditions.conditions(
            Decided(decision=decision, verdict=verdict, measured=measured),
            Programmed(generation=1, pods=2, acknowledged=acknowledged),
            obstacle=obstacle,
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


def test_what_was_rolled_back_and_why_is_told_apart_from_what_to_do() -> None:
    state = State(phase=Phase.ROLLED_BACK, fingerprint="a", cause="9 of 9 requests failed")
    told = "9 of 9 requests failed; annotate the route"
    decision = Decision(state=state, reason=Reason.ROLLED_BACK, message=told)
    verdict = Verdict(outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message="v")
    found = {
        one.type: one.message
        for one in route_conditions.conditions(
            Decided(decision=decision, verdict=verdict, measured=False), PODS
        )
    }
    assert found[ConditionType.READY] == told
    assert found[ConditionType.ROLLED_BACK] == found[ConditionType.WITHIN_SLO] == state.cause


@pytest.mark.parametrize(
    ("fingerprint", "said"),
    [("a", "this canary is not rolled back"), ("", "the route has no canary")],
)
def test_what_was_not_rolled_back_says_so(fingerprint: str, said: str) -> None:
    state = State(phase=Phase.PROGRESSING, fingerprint=fingerprint)
    decision = Decision(state=state, reason=Reason.AWAITING_EVIDENCE, message="at 25 %")
    verdict = Verdict(outcome=Outcome.HEALTHY, reason=Reason.HEALTHY, message="v")
    decided = Decided(decision=decision, verdict=verdict, measured=True)
    [told] = [
        one
        for one in route_conditions.conditions(decided, PODS)
        if one.type is ConditionType.ROLLED_BACK
    ]
    assert (told.status, told.message) == ("False", said)


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


@pytest.mark.parametrize(
    ("outcome", "abnormal"),
    [
        (Refused(reason=Reason.CONFLICTED, message="m"), "Stalled"),
        (Waiting(reason=Reason.PROVISIONING, message="m"), "Reconciling"),
    ],
    ids=["refused", "waiting"],
)
def test_a_route_that_is_not_in_use_says_whether_a_person_must_act(
    outcome: Obstacle, abnormal: str
) -> None:
    found = by_type(route_conditions.conditions(outcome, PODS))
    assert found["Ready"] == found["Accepted"] == ("False", outcome.reason)
    assert {one for one in ("Stalled", "Reconciling") if found[one][0] == "True"} == {abnormal}


@pytest.mark.parametrize(
    ("obstacle", "abnormal"), [(REFUSED, "Stalled"), (UNAVAILABLE, "Reconciling")]
)
def test_a_route_that_could_not_be_stored_is_accepted_and_not_ready(
    obstacle: Obstacle, abnormal: str
) -> None:
    found = a_route(Phase.PROGRESSING, obstacle=obstacle)
    assert found["Ready"] == ("False", obstacle.reason)
    assert found["Accepted"] == ("True", Reason.ACCEPTED)
    assert found[abnormal] == ("True", obstacle.reason)


def test_a_provider_is_ready_once_address_and_key_are_known() -> None:
    assert by_type(provider_conditions.conditions(Configured())) == {
        "Ready": ("True", Reason.CONFIGURED)
    }
    missing = by_type(
        provider_conditions.conditions(Refused(reason=Reason.SECRET_MISSING, message="m"))
    )
    assert (missing["Ready"][0], missing["Stalled"][0]) == ("False", "True")
    waiting = by_type(provider_conditions.conditions(UNAVAILABLE))
    assert (waiting["Ready"][0], waiting["Reconciling"][0]) == ("False", "True")


def told(reason: str, **conditions: str) -> dict[str, Any]:
    """Returns a status: Ready for a reason, and other conditions since a time."""
    ready = {"type": "Ready", "status": "True", "reason": reason, "message": "all is well"}
    others = [
        {"type": type_, "status": "True", "reason": "Provisioning", "lastTransitionTime": since}
        for type_, since in conditions.items()
    ]
    return {"conditions": [ready, *others]}


@pytest.mark.parametrize(
    ("status", "now", "kept"),
    [
        (told("Available"), 100.0, True),
        (told("Available", Reconciling="1970-01-01T00:01:40Z"), 109.0, True),
        (told("Available", Reconciling="1970-01-01T00:01:40Z"), 110.0, False),
        (told("ReasonOfANewerVersion"), 100.0, False),
        ({}, 100.0, False),
    ],
    ids=["first", "within the grace", "after it", "unknown reason", "new"],
)
def test_ready_is_kept_for_some_seconds_if_it_was_true(
    status: dict[str, Any], now: float, kept: bool
) -> None:
    reason = Reason.WAITING_FOR_PODS
    wanted = not_accepted(Waiting(reason=reason, message="0 of 1"))
    ready, *_ = with_grace(wanted, status, on_its_way={reason}, now=now)
    assert ready.status == ("True" if kept else "False")
    assert ready.message == ("all is well" if kept else "0 of 1")
    assert with_grace(wanted, status, on_its_way=(), now=now) == wanted


@given(
    found=st.builds(
        Provisioned,
        wanted_pods=st.just(2),
        ready_pods=st.integers(0, 2),
        pods=st.just(2),
        acknowledged_pods=st.integers(0, 2),
        missing_keys=st.sampled_from([(), ("Secret legacy-key is missing",)]),
        api_keys=st.sampled_from([ApiKeys(), ApiKeys(obstacle="the Secret is immutable")]),
        awaits_entry=st.booleans(),
    )
)
def test_what_waits_for_a_person_is_not_on_its_way(found: Provisioned) -> None:
    told = {one.type for one in tenant_conditions.conditions(found) if one.status == "True"}
    both = {ConditionType.STALLED, ConditionType.RECONCILING}
    assert not both <= told
    assert not {ConditionType.STALLED, ConditionType.READY} <= told
