"""What a relay pod tells of its preflights: probes of a canary before it gets any weight."""

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints

from relay_contract.document import Name, Part, PreflightToken, Provider, ProviderLimits

PreflightState = Literal["Running", "Passed", "Failed"]
"""Under way for the first time, done, or failed at least once and to be tried again."""
PreflightReason = Literal[
    "",
    "Unreachable",
    "Unauthorized",
    "ModelUnknown",
    "Throttled",
    "Refused",
    "ServerError",
    "NoAnswer",
    "NoStream",
]
"""Why the last probe failed; empty while none has, and once one has passed."""
PREFLIGHT_REASONS: tuple[PreflightReason, ...] = get_args(PreflightReason)
MAX_PREFLIGHTS = 1024
"""More than the routes of the largest document."""
MAX_PREFLIGHT_MESSAGE = 400
"""Characters of what a person reads of a failed probe."""


def reached_by(model: str | None, provider: Provider) -> tuple[str | None, Provider]:
    """Returns what decides whether a probe passes; the tenant's part of a quota changes with other tenants."""
    return model, provider.model_copy(update={"limits": ProviderLimits()})


class Preflight(Part):
    """One route's preflight in a pod. message says on what evidence the last probe failed; it holds no secret."""

    # a newer relay may say more
    model_config = ConfigDict(extra="ignore")

    route: Name
    token: PreflightToken
    state: PreflightState
    reason: PreflightReason = ""
    message: Annotated[str, StringConstraints(max_length=MAX_PREFLIGHT_MESSAGE)] = ""


class Preflights(Part):
    """Every preflight that the documents in force ask for. tag names this state of all of them."""

    model_config = ConfigDict(extra="ignore")

    tag: Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9a-f]*$")] = ""
    preflights: Annotated[tuple[Preflight, ...], Field(max_length=MAX_PREFLIGHTS)] = ()
