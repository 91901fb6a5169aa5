"""Whether a Tenant's status would tell nothing new but how far its relay pods are on their way."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_operator.decisions.conditions import ABNORMAL, Condition, find
from relay_operator.names import ConditionType, Reason

_ON_THE_WAY: Final[Mapping[ConditionType, frozenset[Reason]]] = {
    ConditionType.READY: frozenset({Reason.PROVISIONING, Reason.WAITING_FOR_PODS}),
    ConditionType.RECONCILING: frozenset({Reason.PROVISIONING}),
    ConditionType.RELAY_AVAILABLE: frozenset(
        {Reason.PROGRESSING, Reason.MINIMUM_REPLICAS_AVAILABLE}
    ),
    ConditionType.ROLLED_OUT: frozenset({Reason.ROLLING_OUT, Reason.ROLLED_OUT}),
    ConditionType.PROGRAMMED: frozenset({Reason.WAITING_FOR_PODS, Reason.ACKNOWLEDGED}),
    ConditionType.CREDENTIALS_READY: frozenset({Reason.SYNCED, Reason.NOT_PROBED}),
}
"""Reasons that follow each other by themselves while the pods of a tenant come up, by the condition that has them."""


def is_all(told: Mapping[str, Any], wanted: Sequence[Condition], *, generation: int) -> bool:
    """Tells whether the conditions of a status that tells of this generation become these without anything to act on.

    One at least is another. The tenant was not ready, and is not, for the same reason. Whether pods are in trouble is for the caller to know.
    """
    ready = next(one for one in wanted if one.type is ConditionType.READY)
    before = find(told, ConditionType.READY)
    is_as_before = (before.get("status"), before.get("reason")) == ("False", ready.reason.value)
    if not is_as_before or ready.status != "False" or told.get("observedGeneration") != generation:
        return False
    shown = [one for one in wanted if one.type not in ABNORMAL or one.status == "True"]
    listed = {one.get("type") for one in told.get("conditions") or ()}
    news = [one for one in shown if not _is_told(one, find(told, one.type))]
    is_same_list = listed == {one.type.value for one in shown}
    return is_same_list and bool(news) and all(_is_on_the_way(one, told) for one in news)


def _is_told(one: Condition, before: Mapping[str, Any]) -> bool:
    told = before.get("status"), before.get("reason"), before.get("message")
    return told == (one.status, one.reason.value, one.message)


def _is_on_the_way(one: Condition, told: Mapping[str, Any]) -> bool:
    expected = _ON_THE_WAY.get(one.type, frozenset())
    return one.reason in expected and find(told, one.type).get("reason") in expected
