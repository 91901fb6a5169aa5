"""Statements from the tables: made anew while they may change, kept once they are final."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Row, case, func, insert, or_, select

from relay_contract.billing.token_buckets import INPUT_BUCKETS
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.periods.contracts import Contract
from relay_ledger.periods.months import Month, Period
from relay_ledger.reports.figures import OUTPUT_BUCKETS
from relay_ledger.statements import kept_statement
from relay_ledger.statements.statement import (
    Changed,
    Line,
    Statement,
    adjustments,
    currency,
    made,
    refuse_before,
    state_at,
)
from relay_ledger.store.bills.exchange_rates import rate_at
from relay_ledger.store.contracts import contract_of
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.tables import POSTINGS, STATEMENTS, SUMS, TERMS
from relay_ledger.store.usage_reading import sums_in


class PostingsGone(ValueError):
    """A period whose postings are not kept any more, or do not make its sums; the message says what to do."""


class StatementStore:
    """Makes statements of a tenant; grace is in microseconds."""

    def __init__(self, engine: Engine, *, grace: int) -> None:
        self._engine = engine
        self._grace = grace

    def tenants(self) -> list[str]:
        """Returns the UIDs of all that have terms or use."""
        with reading(self._engine) as connection:
            found = {
                row.tenant_uid
                for table in (TERMS, SUMS)
                for row in connection.execute(select(table.c.tenant_uid).distinct())
            }
        return sorted(found)

    def statements(self, tenant_uid: str, month: Month, *, now: int) -> list[Statement]:
        """Returns a month's statement, or those of its parts: as they were made final, or as they stand."""
        with reading(self._engine) as connection:
            contract = contract_of(connection, tenant_uid)
            finals = {one.period.start: one for one in _finals(connection, tenant_uid)}
            return [
                finals.get(period.start)
                or self._drafted(connection, tenant_uid, contract, period, now)
                for period in contract.of_month(month)
            ]

    def finalize(self, tenant_uid: str, month: Month, *, now: int) -> list[Statement]:
        """Makes a month's statements final and returns them; those that are stay as they are. Raises NotDue, NoRate."""
        with writing(self._engine, tenant_uid) as connection:
            contract = contract_of(connection, tenant_uid)
            finals = {one.period.start: one for one in _finals(connection, tenant_uid)}
            statements = []
            for period in contract.of_month(month):
                known = finals.get(period.start)
                statements.append(
                    known or self._finalized(connection, tenant_uid, contract, period, now)
                )
            return statements

    def due(self, tenant_uid: str, *, since: int, now: int) -> list[Period]:
        """Returns the periods of a tenant that were used, whose grace is over, and that are not final; none that begins before `since`."""
        with reading(self._engine) as connection:
            first = connection.execute(
                select(func.min(SUMS.c.quarter)).where(
                    SUMS.c.tenant_uid == tenant_uid, SUMS.c.quarter >= since
                )
            ).scalar()
            over = now - self._grace
            if first is None or first >= over:
                return []
            finals = select(STATEMENTS.c.starts_at).where(STATEMENTS.c.tenant_uid == tenant_uid)
            known = set(connection.execute(finals).scalars())
            return [
                period
                for period in contract_of(connection, tenant_uid).periods(first, over)
                if since <= period.start not in known
                and period.end <= over
                and _is_used(connection, tenant_uid, period)
            ]

    def finalize_period(self, tenant_uid: str, period: Period, *, now: int) -> bool:
        """Makes one period's statement final; returns False if it is, or if terms have changed and the period is none any more.

        Raises NotDue, NoRate, PostingsGone.
        """
        with writing(self._engine, tenant_uid) as connection:
            contract = contract_of(connection, tenant_uid)
            finals = {one.period.start for one in _finals(connection, tenant_uid)}
            if period.start in finals or contract.periods(period.start, period.end) != [period]:
                return False
            self._finalized(connection, tenant_uid, contract, period, now)
        return True

    def _finalized(
        self, connection: Connection, tenant_uid: str, contract: Contract, period: Period, now: int
    ) -> Statement:
        refuse_before(now, period, self._grace)
        final = self._drafted(connection, tenant_uid, contract, period, now, final=True)
        row = {
            "tenant_uid": tenant_uid,
            "starts_at": period.start,
            "ends_at": period.end,
            "name": period.name,
            "finalized_at": now,
            "content": kept_statement.written(final),
        }
        connection.execute(insert(STATEMENTS), [row])
        return final

    def _drafted(
        self,
        connection: Connection,
        tenant_uid: str,
        contract: Contract,
        period: Period,
        now: int,
        *,
        final: bool = False,
    ) -> Statement:
        terms = contract.terms_at(period.start)
        finals = _finals(connection, tenant_uid)
        changed = [
            Changed(one.period, *used, amount)
            for one in finals
            if one.period.start < period.start
            for used, amount in _charges(connection, tenant_uid, one.period).items()
        ]
        return made(
            tenant_uid=tenant_uid,
            terms=terms,
            period=period,
            state="final" if final else state_at(now, period),
            rate=rate_at(connection, currency(terms.currency), min(now, period.end - 1)),
            lines=[
                *_usage(connection, tenant_uid, period),
                *adjustments(changed, finals, before=period.start),
            ],
            now=now,
        )


def _finals(connection: Connection, tenant_uid: str) -> list[Statement]:
    rows = connection.execute(
        select(STATEMENTS.c.content)
        .where(STATEMENTS.c.tenant_uid == tenant_uid)
        .order_by(STATEMENTS.c.starts_at)
    )
    return [kept_statement.read(content) for (content,) in rows]


def _is_used(connection: Connection, tenant_uid: str, period: Period) -> bool:
    within = (
        SUMS.c.tenant_uid == tenant_uid,
        SUMS.c.quarter >= period.start,
        SUMS.c.quarter < period.end,
    )
    return connection.execute(select(SUMS.c.quarter).where(*within).limit(1)).first() is not None


def _charges(connection: Connection, tenant_uid: str, period: Period) -> dict[tuple[str, str], int]:
    """Returns what each model of a period, which has no server, and each tool of a server amounts to now."""
    rows = sums_in(
        connection,
        start=period.start,
        end=period.end,
        by=("side", "provider", "model"),
        tenant_uid=tenant_uid,
    )
    charges: dict[tuple[str, str], int] = {}
    for (side, provider, model), figures in rows:
        used = provider if side == TOOL_SIDE else "", model
        charges[used] = charges.get(used, 0) + figures["charge_pico"]
    return {used: amount for used, amount in charges.items() if amount}


def _usage(connection: Connection, tenant_uid: str, period: Period) -> list[Line]:
    """Returns the lines of a period, from the postings of what is billed."""
    at = POSTINGS.c.dispatched_at
    server = case((POSTINGS.c.side == TOOL_SIDE, POSTINGS.c.provider), else_="").label("server")
    keys = (server, POSTINGS.c.model, POSTINGS.c.charge_version)
    rows = connection.execute(
        select(
            *keys,
            *(
                func.sum(column).label(name)
                for name, column in (
                    ("requests", POSTINGS.c.delivered + POSTINGS.c.tool_calls),
                    ("input_tokens", _sum(INPUT_BUCKETS)),
                    ("output_tokens", _sum(OUTPUT_BUCKETS)),
                    ("unpriced", POSTINGS.c.charge_unpriced),
                    ("amount_pico", POSTINGS.c.charge_pico),
                )
            ),
        )
        .where(
            POSTINGS.c.tenant_uid == tenant_uid,
            at >= period.start,
            at < period.end,
            or_(
                POSTINGS.c.delivered != 0,
                POSTINGS.c.tool_calls != 0,
                POSTINGS.c.charge_pico != 0,
                POSTINGS.c.kind == "repricing",
            ),
        )
        .group_by(*keys)
        .order_by(*keys)
    ).all()
    lines = [
        _line(period, list(same))
        for _, same in groupby(rows, key=lambda row: (row.server, row.model))
    ]
    _refuse_what_does_not_agree(connection, tenant_uid, period, lines)
    return [line for line in lines if line.requests or line.amount_pico or line.unpriced]


def _line(period: Period, rows: Sequence[Row[Any]]) -> Line:
    """Returns the line of a model; rows are by the version of its prices."""
    names = ("requests", "input_tokens", "output_tokens", "unpriced", "amount_pico")
    totals = {name: sum(int(row._mapping[name]) for row in rows) for name in names}
    return Line(
        kind="usage",
        period_start=period.start,
        period=period.name,
        server=rows[0].server,
        model=rows[0].model,
        price_version=", ".join(row.charge_version for row in rows if row.amount_pico),
        **totals,
    )


def _sum(names: Sequence[str]) -> Any:
    first, *rest = (POSTINGS.c[name] for name in names)
    total: Any = first
    for one in rest:
        total = total + one
    return total


def _refuse_what_does_not_agree(
    connection: Connection, tenant_uid: str, period: Period, lines: Sequence[Line]
) -> None:
    summed = sum(_charges(connection, tenant_uid, period).values())
    if summed != sum(line.amount_pico for line in lines):
        raise PostingsGone(
            f"the postings of {period.name} do not make its sums: they are older than RELAY_LEDGER_KEPT_DAYS,"
            " or `relay-ledger audit` says what differs"
        )
