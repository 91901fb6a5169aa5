"""What bounds a tenant's spending, as its relays enforce it: hard limits, prices to reserve by, and caps of a session."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from relay_contract.part import Model, Name, Part
from relay_contract.tools.manifest import ServerName
from relay_contract.tools.patterns import NamePattern

MAX_RATES: Final = 512
MAX_TOOL_RATES: Final = 256
MAX_SPEND_MICROS: Final = 2**53
"""Of integers in a document; as micro-USD nine thousand million USD."""
LimitName = Literal["budget", "credit"]
OnLedgerAway = Literal["Refuse", "Serve"]
OnUnpriced = Literal["Refuse", "Serve"]
OnAbandoned = Literal["Waive", "Charge"]
Price = Annotated[int, Field(ge=0, le=11 * 10**9)]
"""Up to 1,000 USD per million tokens, with the highest percentage of a Tenant on top."""
MAX_CALL_MICRO: Final = 11 * 10**8
"""100 USD, with the highest percentage of a Tenant on top."""
PiecePrice = Annotated[int, Field(ge=0, le=MAX_CALL_MICRO)]


_Label = Annotated[str, StringConstraints(max_length=128)]
_DaySecond = Annotated[int, Field(ge=0, lt=86_400)]


def _is_unset(value: object) -> bool:
    return value is None or value == 0 or value in ("", ())


def _is_absent(value: object) -> bool:
    return value is None


class Rate(Part):
    """What a model costs the tenant: micro-USD per million tokens, and micro-USD per call or piece.

    model is lower case, as price lists name it. provider None holds for those that no other rate of the model names. It holds for calls sent
    from starts_at up to but without ends_at, microseconds since 1970, with more input than above_input_tokens; of a service tier and a region
    ("" is the standard tier, and every region that has no rate), and within hours of each day in UTC, seconds of its start and end.

    cached is the price of input from the provider's cache, output that of what an answer shows; None of these three has no price, which is not
    0. None of the others: cache_write and tool_prompt cost as input, cache_write_hour as cache_write, reasoning as output; sound and pieces
    have no price.
    """

    model: Model
    provider: Annotated[Name | None, Field(exclude_if=_is_unset)] = None
    starts_at: Annotated[int, Field(ge=0, exclude_if=_is_unset)] = 0
    ends_at: Annotated[int | None, Field(ge=0, exclude_if=_is_unset)] = None
    above_input_tokens: Annotated[int, Field(ge=0, exclude_if=_is_unset)] = 0
    input: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    cached: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    output: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    call: Annotated[PiecePrice, Field(exclude_if=_is_unset)] = 0
    tier: Annotated[_Label, Field(exclude_if=_is_unset)] = ""
    region: Annotated[_Label, Field(exclude_if=_is_unset)] = ""
    hours: Annotated[tuple[_DaySecond, _DaySecond] | None, Field(exclude_if=_is_absent)] = None
    cache_write: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    cache_write_hour: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    tool_prompt: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    reasoning: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    audio_input: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    audio_output: Annotated[Price | None, Field(exclude_if=_is_absent)] = None
    web_search: Annotated[PiecePrice | None, Field(exclude_if=_is_absent)] = None
    web_fetch: Annotated[PiecePrice | None, Field(exclude_if=_is_absent)] = None


class ToolRate(Part):
    """What a call of some tools costs the tenant: micro-USD each, None where it has no price that the document has room for.

    server None holds for every server. name is a server's own name of a tool, or a pattern; of the rates that hold and cover a tool the
    most specific counts, as in price lists. pays_errors tells whether a call counts of which the tool itself says that it failed.
    """

    server: Annotated[ServerName | None, Field(exclude_if=_is_unset)] = None
    name: NamePattern
    starts_at: Annotated[int, Field(ge=0, exclude_if=_is_unset)] = 0
    ends_at: Annotated[int | None, Field(ge=0, exclude_if=_is_unset)] = None
    call: PiecePrice | None
    pays_errors: bool = True


class SessionCaps(Part):
    """The most of one X-Session-ID: calls, tokens, and money in micro-USD; None is no cap."""

    calls: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    tokens: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    amount_micro: Annotated[int | None, Field(ge=1, le=MAX_SPEND_MICROS, exclude_if=_is_unset)] = (
        None
    )


class Spending(Part):
    """limits names those that refuse calls; each call is reserved on all of them, at the rates.

    A server of which no tool rate tells is free; a tool of another one that no rate covers has no price. on_unpriced says what becomes of calls
    without a price: None refuses them where there are limits. on_abandoned says who pays for calls whose callers leave before the answer begins: None is
    the platform.
    """

    limits: Annotated[tuple[LimitName, ...], Field(max_length=2, exclude_if=_is_unset)] = ()
    on_ledger_away: OnLedgerAway = "Refuse"
    on_unpriced: Annotated[OnUnpriced | None, Field(exclude_if=_is_absent)] = None
    on_abandoned: Annotated[OnAbandoned | None, Field(exclude_if=_is_absent)] = None
    rates: Annotated[tuple[Rate, ...], Field(max_length=MAX_RATES, exclude_if=_is_unset)] = ()
    tool_rates: Annotated[
        tuple[ToolRate, ...], Field(max_length=MAX_TOOL_RATES, exclude_if=_is_unset)
    ] = ()
    session_caps: Annotated[SessionCaps | None, Field(exclude_if=_is_unset)] = None
