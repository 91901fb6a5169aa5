"""Lends what Tenants do not use of their part of a Provider's quota to those that could use more.

A Tenant whose relays have been quiet for minutes keeps a quarter of its part; the rest is lent, by weight, to those that are
short. One that comes back gets its part within seconds. Amounts are in units of weight: a Tenant's part of the quota is its
units by those of all. What holds at any time, however late relays take a change: the units lent out, counting what a borrower
was given before until its relays took less, are never more than those that lenders' relays are known to have given up. So the
parts never add up to more than by weight alone (bounds: `is_within_bounds`).

Pure and without memory of its own: the caller keeps the loans and passes the clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from relay_contract.quota_use import QuotaLevel

KEPT: Final = 0.25
"""What a lender keeps of its part: with this it begins again until it has all of it."""
MOST_BORROWED: Final = 3.0
"""Units that one Tenant borrows at most for each of its own."""
MOST_LENDERS: Final = 32
"""Of a Provider: each loan is a document written, and each lender's relays are asked how they fare."""
MOST_BORROWERS: Final = 16
STILL_SECONDS: Final = 60.0
"""For which a borrower does with less than BUSY of what it holds until it gives back half of what it borrowed."""
PATIENCE_SECONDS: Final = 10.0
"""After which a borrower's relay that does not answer counts as having taken less. One that is not a relay keeps no limit anyway."""
_LEAST_CHANGE: Final = 0.1
"""Of a borrower's own units: for less no document is written."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """Records what one Tenant gives up. is_certain tells that its relays took it; it comes back at once or once others gave it back."""

    units: float
    is_certain: bool = False
    comes_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """Records what one Tenant has beside its own part. before is the most that its relays may still run with, since that moment.

    most is what it may have for each unit of its own, and busy_at when it last used much of what it had.
    """

    busy_at: float
    since: float = 0.0
    units: float = 0.0
    before: float = 0.0
    most: float = MOST_BORROWED

    @property
    def held(self) -> float:
        return max(self.units, self.before)


@dataclass(frozen=True, slots=True)
class Loans:
    """The loans of one Provider's quota."""

    lenders: Mapping[str, Lent] = field(default_factory=dict)
    borrowers: Mapping[str, Borrowed] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.lenders and not self.borrowers

    def units(self, tenant: str, weight: int) -> float:
        """Returns what the Tenant's document is to have, of its weight and what it lends or borrows."""
        if tenant in self.lenders:
            return weight * KEPT
        borrowed = self.borrowers.get(tenant)
        return weight + (borrowed.units if borrowed is not None else 0.0)

    @property
    def given_up(self) -> float:
        """Returns the units that relays of lenders are known not to use."""
        return sum(one.units for one in self.lenders.values() if one.is_certain)

    @property
    def held(self) -> float:
        """Returns the most units that relays of borrowers may use beside their own."""
        return sum(one.held for one in self.borrowers.values())

    @property
    def is_within_bounds(self) -> bool:
        return self.held <= self.given_up + _ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Holds what is seen at a moment. weights are of the Tenants that have a part; levels are of those that were heard of lately.

    took_it tells whether every relay of a Tenant is known to run the part that it was given last.
    """

    weights: Mapping[str, int]
    levels: Mapping[str, QuotaLevel]
    took_it: Callable[[str], bool]
    now: float


def next_loans(loans: Loans, facts: Facts) -> Loans:
    """Returns what is lent from this moment on. Only what is within bounds before and after is raised."""
    lenders, borrowers = _lenders(loans, facts), _borrowers(loans, facts)
    supply = sum(one.units for one in lenders.values() if one.is_certain and not one.comes_back)
    borrowers = _lowered(borrowers, _targets(borrowers, facts, supply), facts)
    lenders = _brought_back(lenders, borrowers)
    borrowers = _raised(lenders, borrowers, facts, supply)
    lenders = _found(lenders, borrowers, facts)
    kept = {name: one for name, one in borrowers.items() if one.held or one.most}
    return Loans(lenders, kept)


def _lenders(loans: Loans, facts: Facts) -> dict[str, Lent]:
    """Takes in who took less, and who needs its part again; one that is not heard of may need it."""
    found: dict[str, Lent] = {}
    for name, lent in loans.lenders.items():
        weight = facts.weights.get(name, 0)
        is_still = facts.levels.get(name) in ("Quiet", "Usual")
        is_same = abs(weight * (1 - KEPT) - lent.units) < _ROUNDING
        certain = lent.is_certain or facts.took_it(name)
        found[name] = replace(
            lent,
            units=min(lent.units, weight * (1 - KEPT)),
            is_certain=certain,
            comes_back=lent.comes_back or not (is_still and is_same),
        )
    return found


def _borrowers(loans: Loans, facts: Facts) -> dict[str, Borrowed]:
    found = {name: _seen(name, one, facts) for name, one in loans.borrowers.items()}
    for name in sorted(facts.levels):
        is_new = name in facts.weights and name not in found and name not in loans.lenders
        if is_new and facts.levels[name] == "Short" and len(found) < MOST_BORROWERS:
            found[name] = Borrowed(busy_at=facts.now)
    return found


def _seen(name: str, borrowed: Borrowed, facts: Facts) -> Borrowed:
    """Takes in whether a borrower took less, and whether it uses what it has; half of what it does not use is too much."""
    weight, level = facts.weights.get(name, 0), facts.levels.get(name)
    took = facts.took_it(name) or facts.now - borrowed.since >= PATIENCE_SECONDS
    most, busy_at = borrowed.most, borrowed.busy_at
    if not weight:
        most = 0.0
    elif level == "Short":
        most, busy_at = MOST_BORROWED, facts.now
    elif level == "Busy":
        busy_at = facts.now
    elif facts.now - busy_at >= STILL_SECONDS:
        half = borrowed.units / weight / 2
        most, busy_at = half if half >= _LEAST_CHANGE else 0.0, facts.now
    before = borrowed.units if took else borrowed.before
    return replace(borrowed, before=before, most=most, busy_at=busy_at)


def _targets(borrowers: Mapping[str, Borrowed], facts: Facts, supply: float) -> dict[str, float]:
    """Divides what is lent by weight among those that want it, up to the most that each may have."""
    wanting = [name for name, one in borrowers.items() if one.most and name in facts.weights]
    total = sum(facts.weights[name] for name in wanting)
    return {
        name: facts.weights[name] * min(supply / total, borrowers[name].most) for name in wanting
    }


def _lowered(
    borrowers: Mapping[str, Borrowed], targets: Mapping[str, float], facts: Facts
) -> dict[str, Borrowed]:
    found: dict[str, Borrowed] = {}
    for name, one in borrowers.items():
        target = targets.get(name, 0.0)
        if target < one.units - _ROUNDING:
            found[name] = replace(one, units=target, before=one.held, since=facts.now)
        else:
            found[name] = one
    return found


def _brought_back(
    lenders: Mapping[str, Lent], borrowers: Mapping[str, Borrowed]
) -> dict[str, Lent]:
    """Gives their parts back to lenders that need them, as far as borrowers hold none of them any more."""
    found = dict(lenders)
    held = sum(one.held for one in borrowers.values())
    given_up = sum(one.units for one in lenders.values() if one.is_certain)
    for name, one in lenders.items():
        units = one.units if one.is_certain else 0.0
        if one.comes_back and held <= given_up - units + _ROUNDING:
            given_up -= units
            del found[name]
    return found


def _raised(
    lenders: Mapping[str, Lent],
    borrowers: Mapping[str, Borrowed],
    facts: Facts,
    supply: float,
) -> dict[str, Borrowed]:
    """Gives borrowers what nobody holds, by their targets; nothing that comes back to a lender."""
    found = dict(borrowers)
    free = supply - sum(one.held for one in borrowers.values())
    for name, target in _targets(borrowers, facts, supply).items():
        one = found[name]
        more = min(target - one.units, free)
        # what its relays may still run with is held by it already
        if more < _LEAST_CHANGE * facts.weights[name] or one.before > one.units + _ROUNDING:
            continue
        free -= more
        units = one.units + more
        found[name] = replace(one, units=units, before=units, since=facts.now)
    return found


def _found(
    lenders: Mapping[str, Lent], borrowers: Mapping[str, Borrowed], facts: Facts
) -> dict[str, Lent]:
    """Finds further lenders while those that want more could use it; takes none where nobody wants anything."""
    wanted = sum(one.most * facts.weights.get(name, 0) for name, one in borrowers.items())
    if not wanted:
        return {name: replace(one, comes_back=True) for name, one in lenders.items()}
    found = dict(lenders)
    lent = sum(one.units for one in lenders.values() if not one.comes_back)
    for name in _quiet(facts, {*lenders, *borrowers}):
        if lent >= wanted or len(found) >= MOST_LENDERS:
            break
        found[name] = Lent(units=facts.weights[name] * (1 - KEPT))
        lent += found[name].units
    return found


def _quiet(facts: Facts, others: Iterable[str]) -> list[str]:
    """Returns who could lend, the largest part first."""
    known = set(others)
    quiet = [
        name
        for name, level in facts.levels.items()
        if level == "Quiet" and name in facts.weights and name not in known
    ]
    return sorted(quiet, key=lambda name: (-facts.weights[name], name))
