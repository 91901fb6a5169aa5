"""What the ledger has told last, for the conditions of Tenants and Providers."""

from collections.abc import Mapping
from typing import Any, Final

from relay_contract.billing.budget import BudgetStanding
from relay_contract.spending import Rate, Spending, ToolRate
from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Billing, Tenant
from relay_operator.api.tool_server import ToolServer
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.ledger import (
    budget_conditions,
    price_conditions,
    reconciled_condition,
)
from relay_operator.decisions.ledger.standing import Standing, ToldList
from relay_operator.manifests.ledger import books, spending
from relay_operator.reconcile.ledger.book_composer import (
    ComposedBook,
    cost_bytes,
    spec_of,
    tenant_bytes,
    tool_bytes,
)

Reckoned = tuple[tuple[Rate, ...], tuple[ToolRate, ...], tuple[str, ...]]
"""Rates of models and of tools, and what has none for want of room."""
_NOTHING: Final[Reckoned] = (), (), ()


class LedgerNews:
    """Shared by the loop that asks and the reconcilers that tell. standing is None until the ledger has answered once; taken is the
    book that it was seen to have last.
    """

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self.taken = ComposedBook()
        self.price_lists: frozenset[str] = frozenset()
        # None until they were read once
        self.price_specs: Mapping[str, Mapping[str, Any]] | None = None
        self.budgets: Mapping[str, tuple[BudgetStanding, ...]] = {}
        # alerts of tenants that were given up
        self.undelivered: Mapping[str, int] = {}
        self._rates: dict[tuple[str, int], tuple[Mapping[str, Any], Reckoned | None]] = {}

    def know_lists(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes in the specs of all price lists, by name; what was reckoned of others goes."""
        self.price_lists, self.price_specs = frozenset(specs), specs
        self._rates = {
            key: kept for key, kept in self._rates.items() if specs.get(key[0]) is kept[0]
        }

    def spending(self, tenant: Tenant, in_force: Spending | None) -> Spending | None:
        """Returns what bounds a tenant's spending; in_force is what its document says, whose prices stay while those of its list are not known."""
        billing = tenant.spec.billing
        if self.price_specs is None and billing.price_list is not None:
            return in_force
        known = self._reckoned(billing)
        if known is not None:
            return spending.spending(billing, known[0], known[1])
        # without any price a call is refused, and somebody has only taken a list away, or mistyped it
        kept = in_force if in_force is not None else Spending()
        return spending.spending(billing, kept.rates, kept.tool_rates)

    def rates(self, tenant: Tenant) -> tuple[Rate, ...]:
        """Returns the rates by which a tenant's relays reckon, none where they do not; the same object while its list says the same."""
        return self.reckoned(tenant)[0]

    def reckoned(self, tenant: Tenant) -> Reckoned:
        """Returns all that its relays reckon by, and what of its list they have no room for."""
        return self._reckoned(tenant.spec.billing) or _NOTHING

    def _reckoned(self, billing: Billing) -> Reckoned | None:
        """Returns the same, None if the list is not there or cannot be read."""
        if billing.price_list is None or not spending.reckons(billing):
            return _NOTHING
        spec = (self.price_specs or {}).get(billing.price_list)
        if spec is None:
            return None
        # thousands of tenants have a few lists among them
        key = billing.price_list, billing.markup_percent
        of, reckoned = self._rates.get(key, (None, None))
        if of is not spec:
            reckoned = _reckon(spec, billing.markup_percent)
            self._rates[key] = spec, reckoned
        return reckoned

    def of_provider(self, provider: Provider) -> list[Condition]:
        """Returns the conditions of a Provider, none before the ledger has answered."""
        if self.standing is None:
            return []
        name = provider.metadata.name
        spec = spec_of(provider, {"models"})
        told = self.standing.lists.get(books.cost_list(name), ToldList())
        unpriced = dict.fromkeys(books.unpriced_models(spec))
        unpriced |= dict.fromkeys(self.standing.unpriced_costs.get(name, ()))
        own = cost_bytes(name, spec)
        is_taken = self.taken.lists.get(books.cost_list(name), b"") == own
        found = [price_conditions.of_provider(list(unpriced), told, is_taken=is_taken)]
        reconciled = self.standing.reconciled
        if reconciled is not None:
            found.append(reconciled_condition.of_provider(name, reconciled.get(name)))
        return found

    def of_tool_server(self, server: ToolServer) -> list[Condition]:
        """Returns the condition of a ToolServer that has prices, none before the ledger has answered."""
        spec = spec_of(server, {"prices"})
        if self.standing is None or not spec.get("prices"):
            return []
        name = server.metadata.name
        listed = books.tool_list(name)
        return [
            price_conditions.of_tool_server(
                self.standing.unpriced_tool_costs.get(name, ()),
                self.standing.lists.get(listed, ToldList()),
                is_taken=self.taken.lists.get(listed, b"") == tool_bytes(name, spec),
            )
        ]

    def of_budget(self, tenant: Tenant) -> list[Condition]:
        """Returns what the ledger has told of a Tenant's budget and credit, as a condition."""
        uid = tenant.metadata.uid
        return budget_conditions.of_tenant(
            tenant.spec.billing, self.budgets.get(uid, ()), self.undelivered.get(uid, 0)
        )

    def of_tenant(self, tenant: Tenant) -> list[Condition]:
        """Returns the condition of a Tenant that is billed."""
        name = tenant.spec.billing.price_list
        if self.standing is None or name is None:
            return []
        uid = tenant.metadata.uid
        billing = spec_of(tenant, {"billing"})
        own = tenant_bytes({"name": tenant.metadata.name, **billing})
        return [
            *self.of_budget(tenant),
            price_conditions.of_tenant(
                price_list=name,
                is_there=name in self.price_lists,
                unpriced=self.standing.unpriced_charges.get(uid, ()),
                problem=self.standing.problems.get(uid, ""),
                left_out=self.reckoned(tenant)[2],
                is_refused=spending.refuses_unpriced(tenant.spec.billing),
                is_taken=self.taken.tenants.get(uid, b"") == own,
            ),
        ]


def _reckon(price_list: Mapping[str, Any], percent: int) -> Reckoned | None:
    """Returns what relays reckon by of a PriceList's spec, None where it has what is no price or no moment: the ledger says so of it."""
    try:
        rates, left_out = spending.charge_rates(price_list, percent)
        tool_rates, left_servers = spending.charge_tool_rates(price_list, percent)
    except ValueError:
        return None
    return rates, tool_rates, (*left_out, *left_servers)
