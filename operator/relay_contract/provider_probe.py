"""Tells what a relay pod finds out about a provider by asking it for its list of models: a call that costs nothing."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from relay_contract.document import Model, Name, Part

ProbeOutcome = Literal[
    "Answered",
    "Unlisted",
    "Throttled",
    "Unauthorized",
    "ServerError",
    "Unreachable",
    "KeyMissing",
    "NotInUse",
]
"""A list of models; an answer that is none, of a provider that has no list or does not show it; 429; 401; 5xx; no answer; nothing
was sent for want of a key; the document in force does not name the provider, or closes it.
"""
MAX_PROBE_MESSAGE = 300
"""Characters of what a person reads of it."""
MAX_NOT_LISTED = 8
PROBE_SECONDS = 12.0
"""After which a provider counts as out of reach."""
PROBE_CACHE_SECONDS = 20.0
"""A pod that is asked again within this tells what it found last."""


class ProviderProbe(Part):
    """The end of one probe. not_listed are the first of the provider's models that its list lacks."""

    # a newer relay may say more
    model_config = ConfigDict(extra="ignore")

    provider: Name
    outcome: ProbeOutcome
    message: Annotated[str, StringConstraints(max_length=MAX_PROBE_MESSAGE)] = ""
    not_listed: Annotated[tuple[Model, ...], Field(max_length=MAX_NOT_LISTED)] = ()
