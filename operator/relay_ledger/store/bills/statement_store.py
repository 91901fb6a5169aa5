"""Statements from the tables: made anew while they may change, kept once they are final."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.periods.contracts import Contract
from relay_ledger.periods.months import Month, Period
from relay_ledger.statements import kept_statement
from relay_ledger.statements.priced_lines import usage_lines
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
from relay_ledger.store.bills.charged_use import ListsByVersion, charged_use
from relay_ledger.store.bills.exchange_rates import rate_at
from relay_ledger.store.contracts import contract_of
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.tables import STATEMENTS, SUMS, TERMS
from relay_ledger.store.usage_reading import sums_in

_Figures = Mapping[tuple[str, ...], Mapping[str, int]]
"""Sums by side, provider and model."""


class PostingsGone(ValueError):
    """A period whose postings are not kept any more, or do not make its sums; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Usage:
    """The lines of a period, and what its sums were when they were read: as long as they are, nothing has been booked since."""

    figures: _Figures
    lines: Sequence[Line]


class StatementStore:
    """Makes statements of a tenant; grace is in microseconds.

    What takes long is read while others book, also of this tenant; a statement is final in a transaction in which nobody does, and reads again
    what has changed since.
    """

    def __init__(self, engine: Engine, *, grace: int) -> None:
        self._engine = engine
        self._grace = grace
        self._lists = ListsByVersion()

    def tenants(self) -> list[str]:
        """Returns the UIDs of all that have terms or use: each by a look into an index, for the sums of all are a hundred million rows."""
        found: set[str] = set()
        with reading(self._engine) as connection:
            for table in (TERMS, SUMS):
                first = select(func.min(table.c.tenant_uid))
                uid = connection.execute(first).scalar()
                while uid is not None:
                    found.add(uid)
                    uid = connection.execute(first.where(table.c.tenant_uid > uid)).scalar()
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
        with reading(self._engine) as connection:
            periods = contract_of(connection, tenant_uid).of_month(month)
            finals = {one.period.start for one in _finals(connection, tenant_uid)}
        read = {
            period: self._read(tenant_uid, period)
            for period in periods
            if period.start not in finals and now >= period.end + self._grace
        }
        with writing(self._engine, tenant_uid) as connection:
            contract = contract_of(connection, tenant_uid)
            known = {one.period.start: one for one in _finals(connection, tenant_uid)}
            return [
                known.get(period.start)
                or self._finalized(
                    connection, tenant_uid, contract, period, now, read=read.get(period)
                )
                for period in contract.of_month(month)
            ]

    def due(self, tenant_uid: str, *, since: int, now: int) -> list[Period]:
        """Returns the periods of a tenant that were used, whose grace is over, and that are not final; none that begins before `since`.

        Where there is none, and final statements are to be adjusted, it is the last one that ended, used or not: who has gone is billed too.
        """
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
            ended = [
                period
                for period in contract_of(connection, tenant_uid).periods(first, over)
                if since <= period.start not in known and period.end <= over
            ]
            used = [period for period in ended if _is_used(connection, tenant_uid, period)]
            if used or not (known and ended):
                return used
            *_, last = ended
            return [last] if _adjustments(connection, tenant_uid, before=last.start) else []

    def finalize_period(self, tenant_uid: str, period: Period, *, now: int) -> bool:
        """Makes one period's statement final; returns False if it is, or if terms have changed and the period is none any more.

        Raises NotDue, NoRate, PostingsGone.
        """
        read = self._read(tenant_uid, period)
        with writing(self._engine, tenant_uid) as connection:
            contract = contract_of(connection, tenant_uid)
            finals = {one.period.start for one in _finals(connection, tenant_uid)}
            if period.start in finals or contract.periods(period.start, period.end) != [period]:
                return False
            self._finalized(connection, tenant_uid, contract, period, now, read=read)
        return True

    def _usage(self, connection: Connection, tenant_uid: str, period: Period) -> _Usage:
        """Returns what a period comes to, from the postings of what is billed."""
        figures = _figures(connection, tenant_uid, period)
        used = charged_use(connection, tenant_uid, period)
        lists = self._lists.of(connection, {one.version for one in used})
        lines = usage_lines(period, used, lists)
        _refuse_what_does_not_agree(period, figures, lines)
        return _Usage(figures, lines)

    def _read(self, tenant_uid: str, period: Period) -> _Usage:
        with reading(self._engine) as connection:
            return self._usage(connection, tenant_uid, period)

    def _finalized(
        self,
        connection: Connection,
        tenant_uid: str,
        contract: Contract,
        period: Period,
        now: int,
        *,
        read: _Usage | None,
    ) -> Statement:
        refuse_before(now, period, self._grace)
        if read is None or read.figures != _figures(connection, tenant_uid, period):
            read = self._usage(connection, tenant_uid, period)
        final = self._drafted(connection, tenant_uid, contract, period, now, final=read)
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
        final: _Usage | None = None,
    ) -> Statement:
        terms = contract.terms_at(period.start)
        usage = self._usage(connection, tenant_uid, period) if final is None else final
        return made(
            tenant_uid=tenant_uid,
            terms=terms,
            period=period,
            state=state_at(now, period) if final is None else "final",
            rate=rate_at(connection, currency(terms.currency), min(now, period.end - 1)),
            lines=[
                *usage.lines,
                *_adjustments(connection, tenant_uid, before=period.start),
            ],
            now=now,
        )


def _adjustments(connection: Connection, tenant_uid: str, *, before: int) -> list[Line]:
    """Returns what has changed since of periods that began before a time and whose statements are final."""
    finals = _finals(connection, tenant_uid)
    changed = [
        Changed(one.period, *used, amount)
        for one in finals
        if one.period.start < before
        for used, amount in _charges(_figures(connection, tenant_uid, one.period)).items()
    ]
    return adjustments(changed, finals, before=before)


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


def _figures(connection: Connection, tenant_uid: str, period: Period) -> _Figures:
    """Returns the sums of a period as they are now."""
    by = ("side", "provider", "model")
    return dict(
        sums_in(connection, start=period.start, end=period.end, by=by, tenant_uid=tenant_uid)
    )


def _charges(figures: _Figures) -> dict[tuple[str, str], int]:
    """Returns what each model, which has no server, and each tool of a server amounts to."""
    charges: dict[tuple[str, str], int] = {}
    for (side, provider, model), sums in figures.items():
        used = provider if side == TOOL_SIDE else "", model
        charges[used] = charges.get(used, 0) + sums["charge_pico"]
    return {used: amount for used, amount in charges.items() if amount}


def _refuse_what_does_not_agree(period: Period, figures: _Figures, lines: Sequence[Line]) -> None:
    if sum(_charges(figures).values()) != sum(line.amount_pico for line in lines):
        raise PostingsGone(
            f"the postings of {period.name} do not make its sums: they are older than RELAY_LEDGER_KEPT_DAYS,"
            " or `relay-ledger audit` says what differs"
        )
