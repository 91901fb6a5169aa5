"""Claims on Providers: which tenants have a part in each, kept up at the cost of what changes.

A tenant has a part in a Provider that is open to it, if it owns its namespace and a route of it is in force there or was not
refused. So neither a refused route nor a namespace of somebody else takes anything from others.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay_operator.api.equal_parts import equal_names
from relay_operator.api.tenant import Limits
from relay_operator.decisions.providers.lending import Loans
from relay_operator.decisions.providers.oversubscription import Promised

_NOBODY: Mapping[str, int] = {}
_EXACT: Final = 50
"""Tenants of one Provider among whom it is divided to the last part."""
_STEP: Final = 1.02
NO_LOANS: Final = Loans()
NOTHING: Final = Promised()


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A tenant that may have parts in Providers: one that owns its namespace and is not being deleted.

    limits are its own, None while its spec cannot be used.
    """

    tenant: str
    weight: int
    may_use: Callable[[str], bool]
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    tenant: str
    weight: int
    providers: frozenset[str]
    limits: Limits | None


@dataclass(slots=True)
class ProviderClaims:
    """Claims by route, and from them the weight of each tenant in each Provider.

    party returns whose a namespace is, None where nobody there has a part in anything.
    """

    party: Callable[[str], Party | None]
    _of_route: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _of_routes: dict[str, Counter[str]] = field(default_factory=dict)
    _in_force: dict[str, frozenset[str]] = field(default_factory=dict)
    _in_force_in: dict[str, set[str]] = field(default_factory=dict)
    _unsettled: set[str] = field(default_factory=set)
    _parts: dict[str, _Part] = field(default_factory=dict)
    _weights: dict[str, dict[str, int]] = field(default_factory=dict)
    _totals: Counter[str] = field(default_factory=Counter)
    _promised: dict[str, Promised] = field(default_factory=dict)
    _divisions: Counter[str] = field(default_factory=Counter)
    _loans: dict[str, Loans] = field(default_factory=dict)

    def knows(self, namespace: str, route: str) -> bool:
        """Tells whether anything was said of this route's claim, also that it has none."""
        return (namespace, route) in self._of_route

    def put(self, namespace: str, route: str, providers: Iterable[str]) -> frozenset[str]:
        """Keeps which Providers a route claims; returns those that the namespace claims, or claims no more, since then."""
        before = self._of_route.get((namespace, route), frozenset())
        after = self._of_route[(namespace, route)] = equal_names(providers)
        return self._count(namespace, before, after)

    def drop(self, namespace: str, route: str) -> frozenset[str]:
        """Forgets a route that is gone; returns what put() does."""
        before = self._of_route.pop((namespace, route), frozenset())
        return self._count(namespace, before, frozenset())

    def claimed_in(self, namespace: str) -> frozenset[str]:
        """Returns the Providers that routes of the namespace claim, whether or not they are open to its tenant."""
        return frozenset(self._of_routes.get(namespace, ()))

    def note_in_force(self, namespace: str, providers: Iterable[str]) -> None:
        """Keeps which Providers the document of a namespace names."""
        before, after = self._in_force.pop(namespace, frozenset()), equal_names(providers)
        if after:
            self._in_force[namespace] = after
        for gone in before - after:
            self._in_force_in[gone].discard(namespace)
            if not self._in_force_in[gone]:
                del self._in_force_in[gone]
        for new in after - before:
            self._in_force_in.setdefault(new, set()).add(namespace)
        if before != after:
            self._unsettled.add(namespace)

    def in_force_in(self, provider: str) -> Iterable[str]:
        """Returns the namespaces whose documents name the Provider."""
        return tuple(self._in_force_in.get(provider, ()))

    def look_again(self, namespace: str) -> None:
        """Takes in that a namespace may be another's now, or its tenant's weight or labels may have changed."""
        self._unsettled.add(namespace)

    def weights(self, provider: str) -> Mapping[str, int]:
        """Returns the tenants that have a part in a Provider, each with its weight."""
        self._settle()
        return self._weights.get(provider, _NOBODY)

    def promised(self, provider: str) -> Promised:
        """Returns what the tenants that have a part in a Provider may use by their own limits."""
        self._settle()
        return self._promised.get(provider, NOTHING)

    def division(self, provider: str) -> int:
        """Returns a number that changes with the shares that tenants have in a Provider, and never comes back."""
        self._settle()
        return self._divisions[provider]

    def share(self, provider: str, tenant: str, *, weight: int) -> float:
        """Returns a tenant's part of a Provider by weight, and by what it lends or borrows, 0 to 1; one that has none yet is
        counted with this weight.
        """
        known = self.weights(provider).get(tenant)
        if known is not None:
            units = self._loans.get(provider, NO_LOANS).units(tenant, known)
            return units / self._divided_by(provider)
        return weight / (self._totals[provider] + weight)

    def loans(self, provider: str) -> Loans:
        """Returns what tenants of a Provider lend each other."""
        return self._loans.get(provider, NO_LOANS)

    def lend(self, provider: str, loans: Loans) -> None:
        """Keeps what tenants of a Provider lend each other from now on."""
        if loans.is_empty:
            self._loans.pop(provider, None)
        else:
            self._loans[provider] = loans

    def _count(
        self, namespace: str, before: frozenset[str], after: frozenset[str]
    ) -> frozenset[str]:
        if before == after:
            return frozenset()
        counted = self._of_routes.setdefault(namespace, Counter())
        had = frozenset(counted)
        counted.update(after - before)
        counted.subtract(before - after)
        for gone in [one for one in before - after if not counted[one]]:
            del counted[gone]
        turned = had ^ frozenset(counted)
        if not counted:
            del self._of_routes[namespace]
        if turned:
            self._unsettled.add(namespace)
        return turned

    def _settle(self) -> None:
        """Brings the weights up to date with the namespaces of which something changed."""
        for namespace in self._unsettled:
            before, after = self._parts.get(namespace), self._part(namespace)
            if before == after:
                continue
            self._parts.pop(namespace, None)
            others = {one: self._divided_by(one) for one in _divided(before, after)}
            if before is not None:
                for provider in before.providers:
                    self._take_out(provider, before)
            if after is not None:
                self._parts[namespace] = after
                for provider in after.providers:
                    self._put_in(provider, after)
            # where each share is one of many, most changes leave those of all others as they are
            self._divisions.update(
                provider
                for provider, by in others.items()
                if len(self._weights.get(provider, _NOBODY)) <= _EXACT
                or by != self._divided_by(provider)
            )
        self._unsettled.clear()

    def _divided_by(self, provider: str) -> int:
        """Returns by what a Provider is divided: the weight of all, among many tenants a little more, in steps of 2 %.

        So a tenant that comes to thousands rewrites no document of theirs, but about every fiftieth of their number; and all
        together never have more than the whole.
        """
        total = self._totals[provider]
        if len(self._weights.get(provider, _NOBODY)) <= _EXACT:
            return total
        steps = math.ceil(math.log(total, _STEP))
        return max(math.ceil(_STEP**steps), total)

    def _put_in(self, provider: str, part: _Part) -> None:
        self._weights.setdefault(provider, {})[part.tenant] = part.weight
        self._totals[provider] += part.weight
        promised = self._promised.get(provider, NOTHING)
        self._promised[provider] = promised if part.limits is None else promised.plus(part.limits)

    def _take_out(self, provider: str, part: _Part) -> None:
        del self._weights[provider][part.tenant]
        self._totals[provider] -= part.weight
        if part.limits is not None:
            self._promised[provider] = self._promised[provider].minus(part.limits)
        if not self._weights[provider]:
            del self._weights[provider], self._totals[provider], self._promised[provider]

    def _part(self, namespace: str) -> _Part | None:
        wanted = {*self._of_routes.get(namespace, ()), *self._in_force.get(namespace, ())}
        party = self.party(namespace) if wanted else None
        if party is None:
            return None
        providers = equal_names(one for one in wanted if party.may_use(one))
        return _Part(party.tenant, party.weight, providers, party.limits)


def _divided(before: _Part | None, after: _Part | None) -> set[str]:
    """Returns the Providers in which a tenant's weight is not what it was."""
    had, has = (set(part.providers) if part else set() for part in (before, after))
    is_same_weight = before is not None and after is not None and before.weight == after.weight
    return had ^ has if is_same_weight else had | has
