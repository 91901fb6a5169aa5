"""Single attempts: who asked whom for what, how it ended, what it cost and by which prices, as a table, CSV or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_contract.billing.attempt_event import AttemptClosed, AttemptRecord
from relay_contract.billing.token_buckets import BUCKETS, UNITS
from relay_ledger.booking.posting import UNKNOWN, Amount, Posting
from relay_ledger.booking.price_book import Account
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.text_cells import columns, csv_of

IN_FLIGHT: Final = "in_flight"
SWEPT: Final = "swept"
"""Words for the outcome of an attempt of which no end has come: nobody has heard of it for long, so the ledger closed it."""
COLUMNS: Final = (
    *("time", "tenant", "tenant_uid", "route", "side", "provider", "model", "key"),
    *(
        "requested_model",
        "routed_model",
        "outcome",
        "status",
        "delivered",
        "abandoned",
        "milliseconds",
    ),
    *("usage_source", "usage_doubt", *BUCKETS, *UNITS),
    *("cost_usd", "cost_state", "cost_version", "cost_reason"),
    *("charge_usd", "charge_state", "charge_version", "charge_reason"),
    *("reserved_usd", "held_usd"),
    *(
        "attempt",
        "relay",
        "manifest_revision",
        "call_id",
        "request_id",
        "upstream_request_id",
        "id",
    ),
)
"""model is the one that answered, else the one that was asked for. cost is the platform's, charge the tenant's: the state is priced, free,
unpriced or unknown, version names the prices, usage_doubt why the
provider's own count was not taken, reason says what a price is missing for. held_usd is the most that an attempt of unknown use may have cost."""
_SHORT: Final = (
    *("time", "tenant", "route", "side", "provider", "model", "key", "outcome", "request_id", "id"),
    *("cost", "charge", "version"),
)


@dataclass(frozen=True, slots=True)
class BookedAttempt:
    """What the ledger has of an attempt: the record of its end, or of its beginning where no end has come, and its postings in their order."""

    record: AttemptRecord
    is_swept: bool
    postings: tuple[Posting, ...]

    @property
    def outcome(self) -> str:
        """Says how it ended."""
        if isinstance(self.record, AttemptClosed):
            return self.record.outcome
        return SWEPT if self.is_swept else IN_FLIGHT

    @property
    def model(self) -> str:
        """The model that answered, else the one that the provider was asked for."""
        answered = self.record.answered_model if isinstance(self.record, AttemptClosed) else None
        return answered or self.record.routed_model

    def amount(self, account: Account) -> Amount | None:
        """Returns what is booked on an account now, all corrections included; None before anything is."""
        if not self.postings:
            return None
        if account == "charge" and self.outcome == IN_FLIGHT:
            # what is held is a cost
            return UNKNOWN
        last = self.postings[-1].cost if account == "cost" else self.postings[-1].charge
        pico = sum(one.figures[f"{account}_pico"] for one in self.postings)
        return Amount(last.state, pico, last.version, last.detail)


def attempts_csv(attempts: Sequence[BookedAttempt]) -> str:
    """Returns a row for each attempt."""
    return csv_of(COLUMNS, ([_plain(value) for value in _told(one).values()] for one in attempts))


def attempts_json(
    attempts: Sequence[BookedAttempt], *, start: int | None, end: int | None, following: str | None
) -> str:
    """Returns every attempt; next is where those after them begin, null if there are none."""
    report = {
        "start": None if start is None else utc_text(start),
        "end": None if end is None else utc_text(end),
        "currency": "USD",
        "attempts": [_told(one) for one in attempts],
        "next": following,
    }
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


def attempts_table(attempts: Sequence[BookedAttempt]) -> str:
    """Returns a line for each attempt, with the amounts in USD or why there is none."""
    return columns([list(_SHORT), *map(_short, attempts)], texts=_SHORT.index("cost"))


def _short(attempt: BookedAttempt) -> list[str]:
    told = _told(attempt)
    cost, charge = attempt.amount("cost"), attempt.amount("charge")
    versions = [one.version for one in (charge, cost) if one is not None and one.version]
    own = {
        "cost": _amount_or_reason(cost),
        "charge": _amount_or_reason(charge),
        "version": versions[0] if versions else "",
    }
    return [str(own.get(name, told.get(name, ""))) for name in _SHORT]


def _amount_or_reason(amount: Amount | None) -> str:
    if amount is None:
        return ""
    if amount.state in ("priced", "free"):
        return usd_text(amount.pico)
    return f"{amount.state}: {amount.detail}" if amount.detail else amount.state


def _told(attempt: BookedAttempt) -> dict[str, Any]:
    record = attempt.record
    held = sum(one.figures["held_pico"] for one in attempt.postings)
    return {
        "time": utc_text(record.dispatched_at),
        **_of_record(record, "tenant", "tenant_uid", "route", "side", "provider"),
        "model": attempt.model,
        "key": record.key_name,
        **_of_record(record, "requested_model", "routed_model"),
        "outcome": attempt.outcome,
        **_ending(record),
        **_money("cost", attempt.amount("cost")),
        **_money("charge", attempt.amount("charge")),
        "reserved_usd": None if record.reserved_pico is None else usd_text(record.reserved_pico),
        "held_usd": usd_text(held) if attempt.postings else None,
        **_of_record(record, "attempt", "relay", "manifest_revision", "call_id", "request_id"),
        "upstream_request_id": getattr(record, "upstream_request_id", None),
        "id": record.id,
    }


def _of_record(record: AttemptRecord, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _ending(record: AttemptRecord) -> dict[str, Any]:
    """Returns what only the end of an attempt tells; tokens that nobody knows are none, not 0."""
    names = (
        *("status", "delivered", "abandoned", "milliseconds", "usage_source", "usage_doubt"),
        *(*BUCKETS, *UNITS),
    )
    if not isinstance(record, AttemptClosed):
        return dict.fromkeys(names)
    tokens: Mapping[str, int | None] = dict.fromkeys(BUCKETS)
    if record.tokens is not None:
        tokens = dict(record.tokens.counts())
    return {
        **_of_record(record, "status", "delivered", "abandoned"),
        "milliseconds": (record.closed_at - record.dispatched_at) // 1000,
        "usage_source": record.usage_source,
        "usage_doubt": record.doubt,
        **tokens,
        **dict(record.units.counts()),
    }


def _money(account: Account, amount: Amount | None) -> dict[str, Any]:
    names = [f"{account}_{part}" for part in ("usd", "state", "version", "reason")]
    if amount is None:
        return dict.fromkeys(names)
    # what has no price, or an unknown use, costs nobody knows what: never 0
    known = usd_text(amount.pico) if amount.state in ("priced", "free") else None
    return dict(zip(names, (known, amount.state, amount.version, amount.detail), strict=True))


def _plain(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    return value
