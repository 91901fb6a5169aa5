"""The posting of an attempt: debit of the platform at its provider, credit from its tenant; the difference is the margin.

Postings are only added. What a later one says is the difference to those before it, so every figure is the sum of its postings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from relay_contract.billing.attempt_event import AttemptClosed, AttemptOpened, AttemptRecord
from relay_contract.billing.token_buckets import BUCKETS, UNITS, BilledUnits, TokenBuckets
from relay_ledger.booking.price_book import Account, PriceBook
from relay_ledger.prices.price_list import NO_ENTRY, PriceList
from relay_ledger.prices.pricing import Priced, Unpriced, Use, price_of

PostingKind = Literal["opened", "usage", "swept", "reversal", "repricing"]
"""opened: what an attempt under way may cost, which is no attempt yet; swept makes it one."""
AmountState = Literal["priced", "free", "unpriced", "unknown"]
"""free: nothing was used, or nobody is to pay for it. unpriced: there is no price yet. unknown: nobody can tell what was
used, or not yet."""
FIGURES: Final = (
    "attempts",
    "delivered",
    "abandoned",
    "tool_calls",
    *BUCKETS,
    *UNITS,
    "cost_pico",
    "charge_pico",
    "held_pico",
    "cost_unpriced",
    "charge_unpriced",
)
"""Names what is summed. abandoned are attempts whose tenant pays for them though its caller left before the answer. tool_calls are those that servers carried out, which are no attempts. held_pico is the worst case of what may
have been used; the last two are numbers of attempts and tool calls."""
Figures = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Amount:
    """One account of a posting: pico-USD, and the version of the list that they, or what is held, come from; detail says what is missing.

    entry is the place in the list of that whose prices make the amount: among those of tools for a tool call.
    """

    state: AmountState
    pico: int = 0
    version: str = ""
    detail: str = ""
    entry: int = NO_ENTRY


FREE: Final = Amount("free")
UNKNOWN: Final = Amount("unknown")
_NO_PRICES: Final = PriceBook({}, ())


@dataclass(frozen=True, slots=True)
class Dimensions:
    """By what sums can be told apart."""

    route: str
    side: str
    provider: str
    model: str
    key_name: str
    usage_source: str

    def key(self) -> tuple[str, ...]:
        """Returns them in this order."""
        return (
            self.route,
            self.side,
            self.provider,
            self.model,
            self.key_name,
            self.usage_source,
        )


@dataclass(frozen=True, slots=True)
class Posting:
    """A row of the ledger. sequence counts the postings of one attempt from 1. manifest_revision is that of the tenant's tool manifest, empty without one."""

    tenant_uid: str
    event_id: str
    dispatched_at: int
    sequence: int
    kind: PostingKind
    dimensions: Dimensions
    cost: Amount
    charge: Amount
    figures: Figures
    manifest_revision: str = ""


def posting_of(closed: AttemptClosed, book: PriceBook, *, sequence: int = 1) -> Posting:
    """Books an attempt that has ended. Its provider is paid for every attempt, the tenant pays for the delivered one, or for one that its caller left where its
    contract says so."""
    cost = _amount(closed, book, "cost", closed.provider, closed.answered_model)
    held = _held(closed, book, closed.answered_model) if cost.state == "unknown" else None
    if held is not None:
        cost = replace(cost, version=held.version)
    charge = FREE
    if closed.is_billed:
        charge = _amount(closed, book, "charge", closed.tenant_uid, _public_model(closed, book))
    source = closed.usage_source
    return Posting(
        tenant_uid=closed.tenant_uid,
        event_id=closed.id,
        dispatched_at=closed.dispatched_at,
        sequence=sequence,
        kind="usage",
        dimensions=_dimensions(closed, closed.answered_model or closed.routed_model, source),
        cost=cost,
        charge=charge,
        figures={
            **dict.fromkeys(FIGURES, 0),
            "attempts": 1,
            "delivered": int(closed.delivered),
            "abandoned": int(closed.abandoned),
            **dict((closed.tokens or TokenBuckets()).counts()),
            **dict(closed.units.counts()),
            **money_figures(cost, charge, held.pico if held is not None else None),
        },
        manifest_revision=closed.manifest_revision,
    )


def opened_posting(opened: AttemptOpened, book: PriceBook, *, sequence: int = 1) -> Posting:
    """Holds what an attempt may cost of which no end has come, by the prices in force when it was sent."""
    held = _held(opened, book, None)
    cost = UNKNOWN if held is None else replace(UNKNOWN, version=held.version)
    return Posting(
        tenant_uid=opened.tenant_uid,
        event_id=opened.id,
        dispatched_at=opened.dispatched_at,
        sequence=sequence,
        kind="opened",
        dimensions=_dimensions(opened, opened.routed_model, "unknown"),
        cost=cost,
        charge=FREE,
        figures={
            **dict.fromkeys(FIGURES, 0),
            **money_figures(cost, FREE, held.pico if held is not None else None),
        },
        manifest_revision=opened.manifest_revision,
    )


def swept_posting(opened: AttemptOpened, before: Posting | None = None) -> Posting:
    """Books an attempt of which nobody has heard again. What is held of it stays so: before is all that is booked of it, None where nothing is."""
    if before is None:
        swept = opened_posting(opened, _NO_PRICES)
        return replace(swept, kind="swept", figures={**swept.figures, "attempts": 1})
    figures = {**dict.fromkeys(FIGURES, 0), "attempts": 1}
    return replace(before, kind="swept", sequence=before.sequence + 1, figures=figures)


def in_all(postings: Sequence[Posting]) -> Posting:
    """Adds up postings of one attempt in their order, the last of which is what counts; their dimensions are the same."""
    figures = {name: sum(one.figures[name] for one in postings) for name in FIGURES}
    return replace(postings[-1], figures=figures)


def reversal_of(posting: Posting, *, sequence: int) -> Posting:
    """Takes a posting back, by one that makes the sum of both nothing."""
    figures = {name: -figure for name, figure in posting.figures.items()}
    return replace(posting, sequence=sequence, kind="reversal", figures=figures)


def repricing_of(
    record: AttemptRecord,
    booked: Mapping[Account, Amount],
    book: PriceBook,
    *,
    sequence: int,
    held: int = 0,
) -> Posting | None:
    """Returns what today's prices change of an attempt, None if nothing; booked is the latest amount of each account, held what is held of it."""
    if isinstance(record, AttemptClosed):
        return repriced(posting_of(record, book, sequence=sequence), booked, reserved=held)
    return repriced(opened_posting(record, book, sequence=sequence), booked, reserved=held)


def repriced(
    target: Posting, booked: Mapping[Account, Amount], *, reserved: int | None
) -> Posting | None:
    """Returns what a posting by today's prices adds to what is booked, None if nothing; reserved is what was held if its cost was unknown."""
    now: dict[Account, Amount] = {"cost": target.cost, "charge": target.charge}
    before = money_figures(booked["cost"], booked["charge"], reserved)
    difference = {name: target.figures[name] - before[name] for name in before}
    if not any(difference.values()) and all(
        now[account].state == booked[account].state for account in now
    ):
        return None
    return replace(
        target,
        kind="repricing",
        figures={**dict.fromkeys(FIGURES, 0), **difference},
    )


def money_figures(cost: Amount, charge: Amount, reserved: int | None) -> dict[str, int]:
    """Returns the figures of both accounts; reserved is the worst case, which is held while the cost is unknown."""
    return {
        "cost_pico": cost.pico,
        "charge_pico": charge.pico,
        "held_pico": (reserved or 0) if cost.state == "unknown" else 0,
        "cost_unpriced": int(cost.state == "unpriced"),
        "charge_unpriced": int(charge.state == "unpriced"),
    }


def _held(record: AttemptRecord, book: PriceBook, answered_model: str | None) -> Amount | None:
    """Returns the worst case of an attempt of unknown use: what its relay says, else the price of what was expected of it; None without one."""
    if record.reserved_pico is not None:
        return Amount("unknown", record.reserved_pico, record.price_version or "")
    prices = book.price_list("cost", record.provider, record.dispatched_at)
    if record.reserved_tokens is None or prices is None:
        return None
    amount = _priced(record, prices, answered_model or record.routed_model, record.reserved_tokens)
    return amount if amount.state == "priced" else None


def _dimensions(record: AttemptRecord, model: str, usage_source: str) -> Dimensions:
    return Dimensions(
        route=record.route,
        side=record.side,
        provider=record.provider,
        model=model,
        key_name=record.key_name,
        usage_source=usage_source,
    )


def _public_model(closed: AttemptClosed, book: PriceBook) -> str | None:
    """Returns the name to look for in a tenant's list: of the model that answered, else the one that was asked for."""
    prices = book.price_list("charge", closed.tenant_uid, closed.dispatched_at)
    answered = closed.answered_model or closed.routed_model
    if prices is not None and not prices.has(answered) and prices.has(closed.requested_model):
        return closed.requested_model
    return answered


def _amount(
    closed: AttemptClosed, book: PriceBook, account: Account, subject: str, model: str | None
) -> Amount:
    prices = book.price_list(account, subject, closed.dispatched_at)
    if prices is None and account == "charge" and book.is_known(subject):
        # a tenant without a list is not billed
        return FREE
    match closed.usage_source:
        case "none":
            return FREE
        case "unknown":
            return UNKNOWN
    if prices is None:
        return without_list(subject)
    return _priced(closed, prices, model or closed.routed_model, closed.tokens or TokenBuckets())


def _priced(record: AttemptRecord, prices: PriceList, model: str, tokens: TokenBuckets) -> Amount:
    served = record if isinstance(record, AttemptClosed) else None
    use = Use(
        provider=record.provider,
        model=model,
        dispatched_at=record.dispatched_at,
        tokens=tokens,
        units=served.units if served is not None else BilledUnits(),
        service_tier=served.service_tier if served is not None else None,
        region=served.region if served is not None else None,
    )
    return amount_of(price_of(use, prices))


def without_list(subject: str) -> Amount:
    """Returns the amount of what is to be paid for, and of which nobody has said by which list."""
    return Amount("unpriced", detail=f"no price list of {subject}")


def amount_of(found: Priced | Unpriced) -> Amount:
    """Returns a price, or that there is none, as an amount."""
    match found:
        case Priced(pico, version, entry):
            return Amount("priced", pico, version, entry=entry)
        case Unpriced(reason, detail, version):
            return Amount("unpriced", 0, version, f"{reason} {detail}"[:256])
