"""What relay pods tell of a preflight: the probes of a canary before it gets any weight."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay_contract.preflight import Preflight

_ASKS_FOR_A_PERSON: Final = frozenset({"Unauthorized", "ModelUnknown", "Refused", "NoStream"})
"""Failures that no later try mends: a key, a model or a provider's answer is wrong."""
_PATIENCE_SECONDS: Final = 10.0
"""With pods that have not passed while another has: a new key or policy reaches one pod later than the next."""


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


def combined(told: Iterable[Preflight], *, pods: int, waited_seconds: float) -> Probes:
    """Makes one of what several pods tell: what a person has to act on comes first.

    All pods that serve have to pass; once _PATIENCE_SECONDS are over, one is enough, so that no broken node holds a canary.
    """
    answers, pods_ready = list(told), pods > 0
    passed = sum(one.state == "Passed" for one in answers)
    if passed and (passed >= pods or waited_seconds >= _PATIENCE_SECONDS):
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
