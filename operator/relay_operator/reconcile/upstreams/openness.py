"""Whom each Provider is open to, as its spec last said."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay_operator.api.provider import Provider, Terms
from relay_operator.decisions.providers import terms as provider_terms
from relay_operator.reconcile.watched_objects import Invalid, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The Providers that a tenant may know of: those it may use, and those out of its region, each with words that say so."""

    near: frozenset[str]
    distant: Mapping[str, str]


@dataclass(slots=True)
class Openness:
    """The terms of every Provider; None where they cannot be read, which opens it to nobody."""

    _terms: dict[str, Terms | None] = field(default_factory=dict)

    def take_in(self, name: str, watched: Watched[Provider] | None) -> None:
        """Keeps what a Provider says now; nothing of one that is gone."""
        if watched is None:
            self._terms.pop(name, None)
        elif isinstance(watched.resource, Invalid):
            self._terms[name] = provider_terms.terms_of(watched.resource.spec)
        else:
            self._terms[name] = watched.resource.spec.terms

    def is_open(self, provider: str, labels: Mapping[str, str]) -> bool:
        """Tells whether a tenant with these labels may have anything of a Provider. One that is gone says nothing."""
        if provider not in self._terms:
            return True
        return provider_terms.is_open(self._terms[provider], labels)

    def offer(self, labels: Mapping[str, str]) -> Offer:
        """Returns the Providers that a tenant with these labels may know of."""
        near, distant = set(), {}
        for name, terms in self._terms.items():
            if terms is None or not provider_terms.is_allowed(terms, labels):
                continue
            if provider_terms.is_near(terms, labels):
                near.add(name)
            else:
                distant[name] = provider_terms.words_of_distance(name, terms, labels)
        return Offer(near=frozenset(near), distant=distant)
