"""What bounds a tenant's spending, as its relays enforce it: hard limits, prices to reserve by, and caps of a session."""

from typing import Annotated, Final, Literal

from pydantic import Field

from relay_contract.part import Model, Name, Part

MAX_RATES: Final = 256
MAX_SPEND_MICROS: Final = 2**53
"""Of integers in a document; as micro-USD nine thousand million USD."""
LimitName = Literal["budget", "credit"]
OnLedgerAway = Literal["Refuse", "Serve"]
Price = Annotated[int, Field(ge=0, le=10**9)]


def _is_unset(value: object) -> bool:
    return value is None or value == 0 or value == ()


class Rate(Part):
    """What a model costs the tenant: micro-USD per million tokens, and micro-USD per call.

    model is lower case, as price lists name it. provider None holds for those that no other rate of the model names. It holds for calls sent
    from starts_at up to but without ends_at, microseconds since 1970, with more input than above_input_tokens. cached is the price of
    input from the provider's cache, output that of everything the model writes.
    """

    model: Model
    provider: Annotated[Name | None, Field(exclude_if=_is_unset)] = None
    starts_at: Annotated[int, Field(ge=0, exclude_if=_is_unset)] = 0
    ends_at: Annotated[int | None, Field(ge=0, exclude_if=_is_unset)] = None
    above_input_tokens: Annotated[int, Field(ge=0, exclude_if=_is_unset)] = 0
    input: Price
    cached: Price
    output: Price
    call: Annotated[int, Field(ge=0, le=10**8, exclude_if=_is_unset)] = 0


class SessionCaps(Part):
    """The most of one X-Session-ID: calls, tokens, and money in micro-USD; None is no cap."""

    calls: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    tokens: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    amount_micro: Annotated[int | None, Field(ge=1, le=MAX_SPEND_MICROS, exclude_if=_is_unset)] = (
        None
    )


class Spending(Part):
    """limits names those that refuse calls; each call is reserved on all of them, at the rates."""

    limits: Annotated[tuple[LimitName, ...], Field(max_length=2, exclude_if=_is_unset)] = ()
    on_ledger_away: OnLedgerAway = "Refuse"
    rates: Annotated[tuple[Rate, ...], Field(max_length=MAX_RATES, exclude_if=_is_unset)] = ()
    session_caps: Annotated[SessionCaps | None, Field(exclude_if=_is_unset)] = None
