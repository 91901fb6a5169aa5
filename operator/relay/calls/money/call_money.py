"""The money of one call: reserved before it waits for anything, and settled with what it cost."""

import time
from datetime import UTC, datetime
from typing import Final, final

from relay.accounting.usage_event import UsageEvent
from relay.budgets.purse import MoneyHold, Shortage, Shortfall, Slice
from relay.budgets.rate_card import Counts, RateCard
from relay.budgets.session_caps import SessionUse, reached
from relay.budgets.spender import Spender
from relay.calls.attempts.call import Call
from relay.calls.attempts.usage_evidence import expected_tokens
from relay.calls.money.asked_pieces import NONE_ASKED, AskedPieces, asked_pieces
from relay.calls.money.asked_service import ANYTHING, AskedService, asked_service
from relay.dialect.refusals import Refusal
from relay.dialect.reported_usage import Tokens
from relay.dialect.usage.billed_usage import BilledUsage, counts_of, labels_of
from relay.outbox.attempt_closing import Name, Told
from relay.routing.routes import Target

RETRY_SECONDS: Final = 1.0
"""A slice that was asked for is there by then."""
_PICOS: Final = 10**12
_SERVICE_PARAMETERS: Final = frozenset({b"service_tier", b"speed"})
"""A target that gets a call without them serves it as it serves calls that ask for nothing."""
_PIECES_UNPRICED: Final = (
    "This call may search the web or fetch pages, which has no price for the tenant with this model, and calls without one are refused;"
    " leave those tools out, or have the platform team act."
)


@final
class CallMoney:
    """What one call has reserved and used."""

    __slots__ = ("_cost", "_hold", "_spender", "_tokens", "_use")

    def __init__(self, spender: Spender, hold: MoneyHold | None, use: SessionUse | None) -> None:
        self._spender = spender
        self._hold = hold
        self._use = use
        self._cost = 0
        self._tokens = 0

    def count(
        self,
        call: Call,
        target: Target,
        event: UsageEvent,
        told: Told | None,
        *,
        is_billed: bool,
    ) -> None:
        """Notes what an attempt used; the tenant pays for the one whose answer its caller got, or did not wait for where it pays for that, which is the last, or for none.

        told is what the ledger is told of it, None where it is told nothing. Of what it knows no use it charges nothing.
        """
        tokens = event.tokens
        self._cost = 0
        if tokens is None:
            return
        self._tokens += tokens.input + tokens.output
        if is_billed and (told is None or told[0] is not None):
            # as the ledger prices it: by the moment of this attempt's dispatch, which a queue or another attempt came before
            sent_at = time.time_ns() // 1000 - int(event.latency_seconds * 1_000_000)
            self._cost = _cost(self._spender.card, call, target, sent_at, tokens, told)

    def settle(self) -> None:
        """Books what the call has cost, once."""
        hold, use = self._hold, self._use
        if hold is not None:
            hold.settle(self._cost)
        if use is not None:
            use.tokens += self._tokens
            use.pico += self._cost
        self._hold = self._use = None


@final
class MoneyRefused:
    """Tells the caller why the call is not reserved; retry_seconds is None where trying again does not help."""

    __slots__ = ("message", "refusal", "retry_seconds")

    def __init__(
        self, refusal: Refusal, message: str | None, retry_seconds: float | None = None
    ) -> None:
        self.refusal = refusal
        self.message = message
        self.retry_seconds = retry_seconds


def reserve_money(
    call: Call, targets: tuple[Target, ...], session: bytes | None, now: float
) -> CallMoney | MoneyRefused:
    """Reserves the most that a call is expected to cost, at whichever of its targets it ends."""
    spender = call.tenant.spender
    wall = time.time_ns() // 1000
    use = _session_use(spender, session)
    caps = spender.caps
    if use is not None and caps is not None:
        cap = reached(caps, use)
        if cap:
            return MoneyRefused(Refusal.session_capped, _capped(cap))
    hold: MoneyHold | None = None
    if spender.limits or spender.refuses_unpriced:
        reserved = _reserved(call, targets, wall, now)
        if isinstance(reserved, MoneyRefused):
            return reserved
        hold = reserved
    if use is not None:
        use.calls += 1
    return CallMoney(spender, hold, use)


def _reserved(
    call: Call, targets: tuple[Target, ...], wall: int, now: float
) -> MoneyHold | MoneyRefused | None:
    """Reserves on the tenant's limits; None where it has none, and what is asked is only whether the call has a price."""
    spender = call.tenant.spender
    pieces = asked_pieces(call.body)
    cost = _most(call, targets, wall, pieces)
    if cost < 0:
        if spender.refuses_unpriced:
            lacks_pieces = _most(call, targets, wall, NONE_ASKED) >= 0
            return MoneyRefused(Refusal.model_unpriced, _PIECES_UNPRICED if lacks_pieces else None)
        # the platform has it served, and it counts once it has a price
        cost = 0
    if not spender.limits:
        return None
    reserved = spender.purse.reserve(
        spender.limits, cost, wall=wall, now=now, serve_when_away=spender.serve_when_away
    )
    return _refused(reserved, cost) if isinstance(reserved, Shortfall) else reserved


def _session_use(spender: Spender, session: bytes | None) -> SessionUse | None:
    return spender.sessions.use(session) if session and spender.caps is not None else None


def _most(call: Call, targets: tuple[Target, ...], wall: int, pieces: AskedPieces) -> int:
    """Returns the cost at the dearest of the targets with so many pieces, -1 if one has no price."""
    card, estimate, most = call.tenant.spender.card, call.estimate, 0
    input_tokens, output_tokens = expected_tokens(estimate)
    asked: AskedService | None = None
    for target in targets:
        names = target.provider, target.model, call.body.model
        service = ANYTHING
        if card.asks_for_service(*names) and _SERVICE_PARAMETERS.isdisjoint(
            target.dropped_parameters
        ):
            service = asked = asked or asked_service(call.body)
        cost = card.most(
            *names,
            wall,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            may_be_served_in=service.may_be_served_in,
            sound=service.sound or estimate.attachments > 0,
            searches=pieces.searches,
            fetches=pieces.fetches,
        )
        if cost < 0:
            return -1
        most = max(most, cost)
    return most


def _cost(
    card: RateCard,
    call: Call,
    target: Target,
    at: int,
    tokens: Tokens,
    told: Told | None,
) -> int:
    """Returns what an attempt cost as it was served. Where that has no price it is the most that so many tokens can cost: never nothing."""
    counts, region = _plain_counts(tokens), None
    model, tier = target.model, None
    if told is not None:
        usage = told[0]
        answered, tier = _text(told[1]), _text(told[2])
        if usage is not None:
            counts = counts_of(usage)
        if isinstance(usage, bytes):
            labels = labels_of(usage)
            if labels is not None:
                answered, tier = _text(labels[0]), _text(labels[1])
        elif usage is not None:
            region = usage.region
        model = answered or model
    cost = card.cost(target.provider, model, call.body.model, at, counts, tier=tier, region=region)
    if cost >= 0:
        return cost
    most = card.most(
        target.provider,
        target.model,
        call.body.model,
        at,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
    )
    return max(most, 0)


def _plain_counts(tokens: Tokens) -> Counts:
    return counts_of(
        BilledUsage(
            input=max(tokens.input - tokens.cached, 0),
            cache_read=tokens.cached,
            output=tokens.output,
        )
    )


def _text(name: Name) -> str | None:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _refused(shortfall: Shortfall, cost: int) -> MoneyRefused:
    match shortfall.reason:
        case Shortage.PENDING:
            return MoneyRefused(Refusal.budget_pending, None, RETRY_SECONDS)
        case Shortage.AWAY:
            return MoneyRefused(Refusal.ledger_away, None)
    of = shortfall.slice
    assert of is not None
    refusal = Refusal.credit_spent if shortfall.kind == "credit" else Refusal.budget_spent
    return MoneyRefused(refusal, _spent(of, cost))


def _spent(of: Slice, cost: int) -> str:
    left = max(of.free + of.left + of.elsewhere, 0)
    needs = f"{usd(left)} USD are left, and this call may cost up to {usd(cost)} USD"
    if of.kind == "credit":
        return f"The tenant's credit is spent: {needs}. Add credit, or make the call smaller."
    renews = datetime.fromtimestamp(of.ends_at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"The tenant's budget of {usd(of.amount)} USD is spent: {needs}."
        f" It renews at {renews}; the platform team can raise it."
    )


def _capped(cap: str) -> str:
    named = "money" if cap == "amount" else cap
    return f"This X-Session-ID has used all the {named} that one session may. Begin another one if that was meant."


def usd(pico: int) -> str:
    """Writes an amount to a hundredth of a cent, rounded up."""
    parts = -(-pico * 10_000 // _PICOS)
    whole, fraction = divmod(parts, 10_000)
    digits = f"{fraction:04d}"
    return f"{whole}.{digits[:2]}{digits[2:].rstrip('0')}"
