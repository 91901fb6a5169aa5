"""Judges how a Provider fares, as relay pods of tenants that use it found by asking for its list of models.

What cannot be told is said so: nobody can try a Provider that no tenant uses, through no tenant's network policy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay_contract.provider_probe import ProbeOutcome, ProviderProbe
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition, Status
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.names import ConditionType, Reason

_BEST_FIRST: tuple[ProbeOutcome, ...] = (
    "Answered",
    "Unlisted",
    "Throttled",
    "Unauthorized",
    "ServerError",
    "Unreachable",
)
"""One pod that gets an answer proves that the provider gives some: what another lacks is its tenant's own matter."""


@dataclass(frozen=True, slots=True)
class Health:
    """The condition Probed, but for its type."""

    status: Status
    reason: Reason
    message: str

    @property
    def condition(self) -> Condition:
        return Condition(
            type=ConditionType.PROBED, status=self.status, reason=self.reason, message=self.message
        )

    @property
    def is_failing(self) -> bool:
        """Tells whether the provider serves nobody as far as is known."""
        return self.reason in (Reason.UNAUTHORIZED, Reason.UNREACHABLE, Reason.SERVER_ERROR)

    @property
    def obstacle(self) -> Obstacle | None:
        """Returns what keeps the Provider from being ready: a refused key takes a person, an outage passes."""
        if not self.is_failing:
            return None
        if self.reason is Reason.UNAUTHORIZED:
            return Refused(reason=self.reason, message=self.message)
        return Waiting(reason=self.reason, message=self.message)


NOT_IN_USE = Health(
    "Unknown",
    Reason.NOT_IN_USE,
    "no Tenant that may make calls has a route to it that is in force or accepted, and only relays of such Tenants can try it",
)
NOT_PROBED = Health(
    "Unknown", Reason.NOT_PROBED, "no relay pod of a Tenant that uses it has tried it yet"
)
PROBES_OFF = Health(
    "Unknown",
    Reason.NOT_PROBED,
    "Providers are not tried (providers.probeSeconds of the chart is 0)",
)


def of_probes(probes: Iterable[ProviderProbe]) -> Health | None:
    """Judges what pods found at about the same time; None where none of them could try."""
    known = [one for one in probes if one.outcome in _BEST_FIRST]
    if not known:
        return None
    best = min(known, key=lambda one: _BEST_FIRST.index(one.outcome))
    return _of_answer(best) if best.outcome == "Answered" else _of_failure(best)


def with_stream(found: Health, stream: ProviderProbe | None, *, model: str) -> Health:
    """Adds what came of a probe with a stream; how a provider that serves nobody fares is told first."""
    if found.is_failing or stream is None:
        return found
    if stream.outcome == "Answered":
        return replace(found, message=f"{found.message}; it streams ({model})")
    message = (
        f"{found.message}; asked for a stream of {model}, {stream.message or stream.outcome}; look at the provider, or at the "
        "model that probeStream names"
    )
    return Health("False", Reason.NO_STREAM, message)


def _of_answer(probe: ProviderProbe) -> Health:
    if not probe.not_listed:
        message = "it lists its models to relays, and the list has all of spec.models"
        return Health("True", Reason.ANSWERS, message)
    return Health(
        "False",
        Reason.MODEL_NOT_LISTED,
        f"it lists its models to relays, and the list lacks {', '.join(probe.not_listed)} of spec.models; correct "
        "upstreamName, unless the provider serves more than it lists",
    )


def _of_failure(probe: ProviderProbe) -> Health:
    said = probe.message or probe.outcome
    match probe.outcome:
        case "Unauthorized":
            message = (
                f"{said}, which relays show it; put the right one into the Secret that auth names"
            )
            return Health("False", Reason.UNAUTHORIZED, message)
        case "ServerError":
            return Health("False", Reason.SERVER_ERROR, f"{said} to relays that ask for its models")
        case "Unreachable":
            message = f"from relay pods {said}; look at the provider, and at egressCIDRs, proxy and caBundle"
            return Health("False", Reason.UNREACHABLE, message)
        case "Throttled":
            return Health("Unknown", Reason.THROTTLED, f"{said} to relays that ask for its models")
        case _:
            message = f"relays reach it, but {said}: whether it takes the key and knows the models shows at the first call"
            return Health("Unknown", Reason.UNLISTED, message)


def told(status: Mapping[str, Any], *, generation: object) -> Health | None:
    """Returns what an earlier life of the operator said of this very spec; None without anything."""
    found = conditions.find(status, ConditionType.PROBED)
    reason = next((one for one in Reason if one == found.get("reason")), None)
    if reason is None or found.get("observedGeneration") != generation:
        return None
    if reason is Reason.NOT_IN_USE:
        return None
    return Health(found["status"], reason, str(found.get("message", "")))
