"""What relay pods tell of a preflight: the probes of a canary before it gets any weight."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay_contract.preflight import Preflight

_ASKS_FOR_A_PERSON: Final = frozenset({"Unauthorized", "ModelUnknown", "Refused", "NoStream"})
"""Failures that no later try mends: a key, a model or a provider's answer is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The preflight of one run as its relay pods tell it together.

    failure is why the last probe failed, as one of the contract's reasons, empty while none has; message says so in a
    pod's words. is_fresh tells that a pod told it in this life of the operator, pods_ready that there is a pod to probe.
    """

    passed: bool = False
    failure: str = ""
    message: str = ""
    is_fresh: bool = True
    pods_ready: bool = True

    @property
    def asks_for_a_person(self) -> bool:
        """Tells whether trying again is no help."""
        return self.failure in _ASKS_FOR_A_PERSON


def combined(told: Iterable[Preflight], *, pods_ready: bool) -> Probes:
    """Makes one of what several pods tell: one that has passed is enough, and what a person has to act on comes first."""
    answers = list(told)
    if any(one.state == "Passed" for one in answers):
        return Probes(passed=True, pods_ready=pods_ready)
    failures = [one for one in answers if one.state == "Failed"]
    if not failures:
        return Probes(is_fresh=bool(answers), pods_ready=pods_ready)
    first = min(
        failures, key=lambda one: (one.reason not in _ASKS_FOR_A_PERSON, one.reason, one.message)
    )
    return Probes(
        failure=first.reason or "Failed", message=_printable(first.message), pods_ready=pods_ready
    )


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)
