"""What a tenant's contract says of periods and currency, since when; a change divides a month and rewrites nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from relay_ledger.periods.months import Month, Period, bounds, month_period
from relay_ledger.periods.zones import local, zone


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds from `starts_at` on, microseconds since 1970, at a quarter of an hour. The currency is that of its statements."""

    starts_at: int = 0
    zone: str = "UTC"
    anchor_day: int = 1
    currency: str = "USD"
    tenant: str = ""

    @property
    def where(self) -> ZoneInfo:
        """Returns the time zone; raises UnknownZone."""
        return zone(self.zone)


DEFAULT = Terms()


@dataclass(frozen=True, slots=True)
class TermsChange:
    """What of a tenant's terms becomes another; None is as it was."""

    zone: str | None = None
    anchor_day: int | None = None
    currency: str | None = None
    tenant: str | None = None

    def of(self, terms: Terms) -> Terms:
        """Returns terms with the change."""
        return Terms(
            terms.starts_at,
            terms.zone if self.zone is None else self.zone,
            terms.anchor_day if self.anchor_day is None else self.anchor_day,
            terms.currency if self.currency is None else self.currency,
            terms.tenant if self.tenant is None else self.tenant,
        )


class Contract:
    """All terms of a tenant that were ever in force. A tenant of whom nothing is said has calendar months of UTC, in USD."""

    __slots__ = ("_terms", "is_known")

    def __init__(self, terms: Iterable[Terms]) -> None:
        ordered = sorted(terms, key=lambda one: one.starts_at)
        first = replace(ordered[0], starts_at=0) if ordered else DEFAULT
        self.is_known = bool(ordered)
        self._terms: Sequence[Terms] = (first, *ordered[1:])

    @property
    def terms(self) -> Sequence[Terms]:
        """Returns all terms in the order of their times, the first from the beginning of time on."""
        return self._terms

    def terms_at(self, at: int) -> Terms:
        """Returns what held at that time."""
        return [one for one in self._terms if one.starts_at <= max(at, 0)][-1]

    def periods(self, start: int, end: int) -> list[Period]:
        """Returns the periods that meet a time, whole and in order; together they have no gap and no overlap.

        Where terms change within a month it is divided: the part that begins then is named by its beginning, 2026-03-17T0615.
        """
        parts: list[Period] = []
        for terms, until in self._spans():
            first, last = max(start, terms.starts_at), end if until is None else min(end, until)
            if first < last:
                parts += [
                    _part(period, terms, until)
                    for period in bounds(first, last, terms.where, terms.anchor_day)
                ]
        return parts

    def of_month(self, month: Month) -> list[Period]:
        """Returns the periods of a month: one, or its parts."""
        around = [month_period(month, terms.where, terms.anchor_day) for terms, _ in self._spans()]
        start, end = min(one.start for one in around), max(one.end for one in around)
        found = self.periods(start, end)
        return [one for one in found if one.name.startswith(month.name)]

    def _spans(self) -> list[tuple[Terms, int | None]]:
        """Returns the terms with their ends; another name alone divides no month."""
        begun = [self._terms[0]]
        begun += [one for one in self._terms[1:] if _periods_of(one) != _periods_of(begun[-1])]
        ends = [*(one.starts_at for one in begun[1:]), None]
        return list(zip(begun, ends, strict=True))


def _periods_of(terms: Terms) -> tuple[str, int, str]:
    return terms.zone, terms.anchor_day, terms.currency


def _part(period: Period, terms: Terms, until: int | None) -> Period:
    """Returns what of a month is within the terms."""
    end = period.end if until is None else min(period.end, until)
    if not terms.starts_at or period.start > terms.starts_at:
        return replace(period, end=end)
    began = local(terms.starts_at, terms.where)
    return Period(f"{period.name}-{began:%dT%H%M}", terms.starts_at, end)
