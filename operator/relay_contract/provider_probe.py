"""Tells what a relay pod finds out about a provider by asking it for its list of models: a call that costs nothing, or for a stream, where
the platform wants that.
"""

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
    "NoStream",
    "Refused",
]
"""A list of models; an answer that is none, of a provider that has no list or does not show it; 429; 401; 5xx; no answer; nothing
was sent for want of a key; the document in force does not name the provider, or closes it, or another model was asked for a stream just now.
Of a probe with a stream alone: no stream came, or none that ended; the call was refused.
"""
MAX_PROBE_MESSAGE = 300
"""Characters of what a person reads of it."""
MAX_NOT_LISTED = 8
PROBE_SECONDS = 12.0
"""After which a provider counts as out of reach."""
STREAM_PROBE_SECONDS = 18.0
"""As above, for a small call and the same one as a stream."""
PROBE_CACHE_SECONDS = 20.0
"""A pod that is asked again within this tells what it found last."""


class ProviderProbe(Part):
    """The end of one probe. not_listed are the first of the provider's models that its list lacks; streamed tells that it was
    asked for a stream instead, which an older relay does not know of.
    """

    # a newer relay may say more
    model_config = ConfigDict(extra="ignore")

    provider: Name
    outcome: ProbeOutcome
    message: Annotated[str, StringConstraints(max_length=MAX_PROBE_MESSAGE)] = ""
    streamed: bool = False
    not_listed: Annotated[tuple[Model, ...], Field(max_length=MAX_NOT_LISTED)] = ()
