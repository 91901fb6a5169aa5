"""The tables. Money, tokens and times are integers on both databases: SQLite has no decimals, and tests on it have to prove something.

`events`, `postings` and `tool_calls` only grow; triggers refuse to change a row. `sums` and `tallies` are what the first two add up to,
changed in the same transaction; `in_flight` is what is opened and not closed. On PostgreSQL the first three are partitioned by month.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, Table, Text

from relay_ledger.booking.answer_times import ANSWER_FIGURES
from relay_ledger.booking.posting import FIGURES
from relay_ledger.prices.price_list import NO_ENTRY

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
# a STRICT table of SQLite takes whole numbers alone, but knows no other name for them
_Whole: Final = BigInteger().with_variant(Integer(), "sqlite")
_Small: Final = SmallInteger().with_variant(Integer(), "sqlite")
QUARTER_MICROSECONDS: Final = 15 * 60 * 1_000_000
"""Sums are of quarters of an hour: every zone of today begins its days at one (Nepal is 5:45 ahead)."""
PARTITIONED: Final = {
    "events": "dispatched_at",
    "postings": "dispatched_at",
    "tool_calls": "called_at",
}
"""Tables whose old months go as a whole, and the time by which a row is of a month."""
GROWING: Final = (
    *("events", "postings", "tool_calls", "price_lists", "assignments", "quarantine"),
    *("terms", "exchange_rates", "statements", "credits", "acts"),
    *("quarantine_ends", "price_sources"),
)
"""Tables whose rows never change."""


def _text(name: str, *, key: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text(), primary_key=key, nullable=False, server_default=default)


def _whole(name: str, *, key: bool = False, default: str | None = None) -> Column[int]:
    return Column(
        name,
        _Whole,
        primary_key=key,
        nullable=False,
        autoincrement=False,
        server_default=default,
    )


_LATER_FIGURES: Final = frozenset({"tool_calls", "abandoned"})
"""Of which what was booked before says nothing."""


def _figures() -> list[Column[int]]:
    return [_whole(name, default="0" if name in _LATER_FIGURES else None) for name in FIGURES]


EVENTS: Final = Table(
    "events",
    METADATA,
    _text("tenant_uid", key=True),
    _text("event_id", key=True),
    _text("phase", key=True),
    _whole("dispatched_at", key=True),
    _whole("received_at"),
    _text("digest"),
    _text("line"),
    # what is asked of all tenants at once begins with a time, not with a tenant
    Index(None, "dispatched_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (dispatched_at)",
)
"""Each record as it came. phase is opened, closed, or swept for what the ledger closed itself."""

POSTINGS: Final = Table(
    "postings",
    METADATA,
    _text("tenant_uid", key=True),
    _text("event_id", key=True),
    Column("sequence", _Small, primary_key=True, nullable=False, autoincrement=False),
    _whole("dispatched_at", key=True),
    _whole("booked_at"),
    _text("kind"),
    _text("route"),
    _text("side"),
    _text("provider"),
    _text("model"),
    _text("key_name"),
    _text("usage_source"),
    _text("cost_state"),
    _text("cost_version"),
    _text("cost_detail"),
    _text("charge_state"),
    _text("charge_version"),
    _text("charge_detail"),
    _text("manifest_revision", default=""),
    Column("charge_entry", Integer(), nullable=False, server_default=str(NO_ENTRY)),
    *_figures(),
    sqlite_strict=True,
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (dispatched_at)",
)
"""charge_entry is the place of the entry in the list of charge_version whose prices make the charge; -1 for none."""

DIMENSIONS: Final = ("route", "side", "provider", "model", "key_name", "usage_source")
SUMS: Final = Table(
    "sums",
    METADATA,
    _text("tenant_uid", key=True),
    _whole("quarter", key=True),
    *(_text(name, key=True) for name in DIMENSIONS),
    *_figures(),
    # what is asked of all tenants at once begins with a time, not with a tenant
    Index(None, "quarter"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Sums of the postings of attempts that were sent in a quarter of an hour, which begins at `quarter`, microseconds since 1970."""

ANSWERS: Final = Table(
    "answers",
    METADATA,
    _text("tenant_uid", key=True),
    _whole("quarter", key=True),
    Column("step", _Small, primary_key=True, nullable=False, autoincrement=False),
    *(_whole(name) for name in ANSWER_FIGURES),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Counts calls and answers of a quarter of an hour by the step of their time."""

TALLIES: Final = Table(
    "tallies",
    METADATA,
    _text("tenant_uid", key=True),
    _whole("day", key=True),
    _whole("opened"),
    _whole("closed"),
    _whole("swept"),
    _whole("unopened"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Attempts that were sent on a day of UTC. swept: closed by the ledger and by nobody else yet. unopened: closed, but no record of their
opening has come yet."""

IN_FLIGHT: Final = Table(
    "in_flight",
    METADATA,
    _text("tenant_uid", key=True),
    _text("event_id", key=True),
    _whole("dispatched_at"),
    Index(None, "dispatched_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

TOOL_CALLS: Final = Table(
    "tool_calls",
    METADATA,
    _text("tenant_uid", key=True),
    _text("event_id", key=True),
    _whole("called_at", key=True),
    _whole("ended_at"),
    _whole("received_at"),
    _text("tenant"),
    _text("relay"),
    _text("call_id"),
    _text("round_id"),
    _text("key_name"),
    _text("method"),
    _text("server"),
    _text("name"),
    _text("own_name", default=""),
    _text("rule"),
    _text("limit_name"),
    _text("revision"),
    _text("outcome"),
    _whole("request_bytes"),
    _whole("answer_bytes"),
    _text("request_id"),
    _text("digest"),
    # what is asked of all tenants at once begins with a time, not with a tenant
    Index(None, "called_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (called_at)",
)
"""Each request for something of a tool server, as relay_contract.billing.tool_call."""

QUARANTINE: Final = Table(
    "quarantine",
    METADATA,
    _text("tenant_uid", key=True),
    _text("digest", key=True),
    _text("reason", key=True),
    _whole("received_at"),
    _text("detail"),
    _text("line"),
    Index(None, "received_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Lines that are not booked and not lost: reason is unreadable, conflict, early, late or unbookable."""

QUARANTINE_ENDS: Final = Table(
    "quarantine_ends",
    METADATA,
    _text("tenant_uid", key=True),
    _text("digest", key=True),
    _text("reason", key=True),
    _whole("ended_at"),
    _text("how"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Lines of the quarantine that are no longer open: how is released or dismissed."""

PRICE_LISTS: Final = Table(
    "price_lists",
    METADATA,
    _text("name", key=True),
    _whole("number", key=True),
    _text("version"),
    _whole("loaded_at"),
    _text("content"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Every version of every list, by number from 1; the highest of a name is in force."""

PRICE_SOURCES: Final = Table(
    "price_sources",
    METADATA,
    _text("version", key=True),
    _whole("number", key=True),
    _whole("loaded_at"),
    _text("digest"),
    _text("content"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Where the prices of a version are from and when that was checked, by entry in JSON; of a version the highest number counts. digest is that of
the text that said so, as SHA-256."""

ASSIGNMENTS: Final = Table(
    "assignments",
    METADATA,
    _text("account", key=True),
    _text("subject", key=True),
    _whole("starts_at", key=True),
    _whole("number", key=True),
    _text("list_name"),
    _whole("loaded_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Whose list is which since when; of the same time the highest number counts."""

TERMS: Final = Table(
    "terms",
    METADATA,
    _text("tenant_uid", key=True),
    _whole("starts_at", key=True),
    _whole("number", key=True),
    _text("zone"),
    _whole("anchor_day"),
    _text("currency"),
    _text("tenant"),
    _whole("loaded_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What tenants' contracts say of periods and currency, since when; of the same time the highest number counts."""

EXCHANGE_RATES: Final = Table(
    "exchange_rates",
    METADATA,
    _text("currency", key=True),
    _whole("starts_at", key=True),
    _whole("number", key=True),
    _whole("rate_micro"),
    _text("source"),
    _whole("loaded_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Micro-units of a currency for one USD, since when."""

STATEMENTS: Final = Table(
    "statements",
    METADATA,
    _text("tenant_uid", key=True),
    _whole("starts_at", key=True),
    _whole("ends_at"),
    _text("name"),
    _whole("finalized_at"),
    _text("content"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Final statements, as they were sent."""

CREDITS: Final = Table(
    "credits",
    METADATA,
    _text("tenant_uid", key=True),
    _text("reference", key=True),
    _whole("amount_pico"),
    _text("note"),
    _whole("booked_at"),
    _text("currency", default="USD"),
    _whole("paid_micro", default="0"),
    _whole("rate_micro", default="1000000"),
    _whole("rate_since", default="0"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Money that was paid in advance, each under the reference of its payment. paid_micro is what was paid in another currency than USD, in its
millionths, and the rate that by which it was turned into amount_pico.
"""

BUDGETS: Final = Table(
    "budgets",
    METADATA,
    _text("tenant_uid", key=True),
    _text("zone"),
    _text("content"),
    _whole("loaded_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What bounds each tenant's spending now, as relay_contract.billing.budget.TenantBudget."""

LIMIT_PODS: Final = Table(
    "limit_pods",
    METADATA,
    _text("tenant_uid", key=True),
    _text("kind", key=True),
    _whole("starts_at", key=True),
    _text("pod", key=True),
    _whole("ends_at"),
    _whole("granted"),
    _whole("reported"),
    _whole("booked"),
    _whole("until"),
    _whole("sequence"),
    Index(None, "ends_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What each relay pod has of a limit, in pico-USD since its beginning; the pod without a name has what was booked before there was one."""

BUDGET_ALERTS: Final = Table(
    "budget_alerts",
    METADATA,
    _text("tenant_uid", key=True),
    _text("kind", key=True),
    _whole("starts_at", key=True),
    _whole("amount_pico", key=True),
    _whole("threshold", key=True),
    _whole("ends_at"),
    _whole("spent_pico"),
    _whole("crossed_at"),
    _whole("told_at"),
    _whole("given_up_at"),
    _whole("sent_again_at"),
    Index(None, "told_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Each threshold that was crossed, once; told_at is 0 until somebody was told, or dismissed it.

given_up_at is not 0 for a dead letter, also a dismissed one, sent_again_at when a person last had it sent again."""

BOOKS: Final = Table(
    "books",
    METADATA,
    _whole("number", key=True),
    _whole("loaded_at"),
    _text("digest"),
    _text("content"),
    _text("problems"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""The newest books of the operator, without their lists, which are above; the highest number is in force. problems is what was wrong with it."""

BACK_DATED: Final = Table(
    "back_dated",
    METADATA,
    _text("name", key=True),
    _whole("number", key=True),
    _whole("since"),
    _text("models"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Versions of price lists that change prices of a time that had passed when they came, from `since` on; models are lines."""

REPRICINGS: Final = Table(
    "repricings",
    METADATA,
    _whole("booked_at", key=True),
    _whole("starts_at"),
    _whole("ends_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Corrections that were booked, each of a time."""

RECONCILIATIONS: Final = Table(
    "reconciliations",
    METADATA,
    _text("provider", key=True),
    _whole("starts_at", key=True),
    _whole("made_at", key=True),
    _whole("ends_at"),
    _text("summary"),
    _text("content"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What was found each time a provider's reports were compared with what is booked; the newest of the last period counts, and the newest of each
stays for ever."""

COST_ADJUSTMENTS: Final = Table(
    "cost_adjustments",
    METADATA,
    _text("provider", key=True),
    _whole("starts_at", key=True),
    _whole("booked_at", key=True),
    _whole("ends_at"),
    _whole("amount_pico"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What a period costs beside the attempts that are booked, by the provider's invoice: the sum of its rows. It is nobody's charge."""

BASELINES: Final = Table(
    "baselines",
    METADATA,
    _text("tenant_uid", key=True),
    _text("source", key=True),
    _whole("starts_at", key=True),
    _whole("ends_at"),
    _whole("points"),
    _whole("imported_at"),
    _text("digest"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""Histories of old relays that were imported: of whom, from where, of which time. Those of one tenant and source do not overlap."""

BASELINE_POINTS: Final = Table(
    "baseline_points",
    METADATA,
    _text("tenant_uid", key=True),
    _text("source", key=True),
    _whole("starts_at", key=True),
    _text("model", key=True),
    _whole("input_tokens"),
    _whole("output_tokens"),
    # what is asked of all tenants at once begins with a time, not with a tenant
    Index(None, "starts_at"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What they say. It is compared with what is booked and summed up with none of it."""

ACTS: Final = Table(
    "acts",
    METADATA,
    _whole("done_at", key=True),
    _text("act", key=True),
    _text("tenant_uid", key=True),
    _text("subject", key=True),
    _text("note"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""What people had the ledger change by its commands."""
