"""Answers questions of one tenant from the sums, in threads of its own: they wait for no booking and hold none up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Engine

from relay_ledger.booking.answer_times import failed_calls
from relay_ledger.booking.posting import FIGURES
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.ingest.booking_desk import DATABASE_ERRORS, DatabaseAway, TooBusy, is_away
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.periods.divisions import divided
from relay_ledger.periods.moments import Moments
from relay_ledger.periods.zones import SECOND, aligned
from relay_ledger.reports.figures import SERVED_SIDES, Group
from relay_ledger.reports.usage_alerts import AlertsQuestion, usage_alerts
from relay_ledger.reports.usage_history import HistoryQuestion, Part, time_of, usage_history
from relay_ledger.reports.usage_report import USAGE_DIMENSIONS, ReportedTime, usage_report
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.credits import CreditStore
from relay_ledger.store.limits.alert_reading import AlertReading
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.usage_reading import UsageReading

READERS: Final = 2
_CHARGED_SIDES: Final = (*SERVED_SIDES, TOOL_SIDE)
"""Of what tenants pay for."""
MAX_QUESTIONS: Final = 16
"""Asked and not answered, of all tenants."""
_Result = TypeVar("_Result")


class UsageDesk:
    """Lives as long as the process."""

    def __init__(self, engine: Engine, log: LedgerLog) -> None:
        self._log = log
        self.credits = CreditStore(engine)
        self.budgets = BudgetStore(engine)
        self._alerts = AlertReading(engine)
        self._contracts = ContractStore(engine)
        self._usage = UsageReading(engine)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="reading")
        self._asked = 0

    def close(self) -> None:
        """Ends the threads once what they do is done."""
        self._threads.shutdown()

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        """Does work with the database in a thread; raises TooBusy, DatabaseAway."""
        if self._asked >= MAX_QUESTIONS:
            raise TooBusy
        self._asked += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, work)
        future.add_done_callback(self._answered)
        try:
            return await asyncio.shield(future)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            self._log.database_away(error)
            raise DatabaseAway(type(error).__name__) from error

    def _answered(self, future: asyncio.Future[Any]) -> None:
        self._asked -= 1
        if not future.cancelled():
            # of one that nobody waits for any more
            future.exception()

    def report(
        self, tenant_uid: str, start: str | None, end: str | None, *, now: int
    ) -> dict[str, Any]:
        """Returns the report of a time, of the present month if none is named; raises NotATime."""
        contract = self._contracts.contract(tenant_uid)
        terms = contract.terms_at(now)
        (period,) = contract.periods(now, now + 1)
        first, last = aligned(period.start, now + 1)
        if start is not None or end is not None:
            moments = Moments(terms.where)
            first, last = moments.span(
                start if start is not None else str(first // SECOND),
                end if end is not None else str(last // SECOND),
            )
        rows = self._usage.sums(
            start=first,
            end=last,
            by=USAGE_DIMENSIONS,
            tenant_uid=tenant_uid,
            sides=_CHARGED_SIDES,
        )
        groups = [
            Group(dict(zip(USAGE_DIMENSIONS, names, strict=True)), figures)
            for names, figures in rows
        ]
        return usage_report(ReportedTime(first, last, terms.zone), groups)

    def history(self, tenant_uid: str, question: HistoryQuestion, *, now: int) -> dict[str, Any]:
        """Returns the history that is asked for; raises BadQuestion, TooManyParts."""
        contract = self._contracts.contract(tenant_uid)
        terms = contract.terms_at(now)
        start, end = time_of(question, contract, now)
        times = divided(start, end, question.granularity, terms.where) if start < end else []
        figures, answers = self._usage.parts(tenant_uid, times, sides=_CHARGED_SIDES)
        nothing = dict.fromkeys(FIGURES, 0)
        parts = []
        for number, (first, _) in enumerate(times):
            steps = answers.get(number, {})
            failed, calls = failed_calls(steps.values())
            parts.append(
                Part(
                    first,
                    figures.get(number, nothing),
                    {step: counts["delivered"] for step, counts in steps.items()},
                    failed,
                    calls,
                )
            )
        return usage_history(ReportedTime(start, end, terms.zone), question, parts)

    def alerts(self, tenant_uid: str, question: AlertsQuestion) -> dict[str, Any]:
        """Returns the page of a tenant's alerts that is asked for."""
        page = self._alerts.page(tenant_uid, most=question.most, after=question.after)
        return usage_alerts(tenant_uid, page.alerts, page.following)
