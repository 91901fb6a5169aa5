"""Which price list is whose, and since when."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from relay_ledger.prices.price_list import PriceList

Account = Literal["cost", "charge"]
"""cost: what the platform pays. charge: what a tenant pays the platform."""
Assigned = Account | Literal["tool_cost"]
"""Of what a list is: cost by Providers, tool_cost by ToolServers, which may have a Provider's name."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A list that holds from a time on: of a provider by its name (cost), a tool server by its name (tool_cost), or a tenant by its UID
    (charge). "" ends the one before.
    """

    account: Assigned
    subject: str
    starts_at: int
    list_name: str


Edition = tuple[int, ...]
"""Numbers of what a book was read from, which grow with all that changes it."""


class PriceBook:
    """All lists by name, each in the version in force, and whose they are. A value: it does not change.

    unbilled are the tenants of whom the operator says that they have no list. It is None where no operator says anything: a tenant without a
    list is then not billed.
    """

    __slots__ = ("_assigned", "_unbilled", "edition", "lists")

    def __init__(
        self,
        lists: Mapping[str, PriceList],
        assignments: Iterable[Assignment],
        *,
        unbilled: Container[str] | None = None,
        edition: Edition = (),
    ) -> None:
        self.lists = dict(lists)
        self.edition = edition
        self._unbilled = unbilled
        self._assigned: dict[tuple[Assigned, str], list[Assignment]] = {}
        for one in sorted(assignments, key=lambda one: one.starts_at):
            self._assigned.setdefault((one.account, one.subject), []).append(one)

    def price_list(self, account: Assigned, subject: str, at: int) -> PriceList | None:
        """Returns the list that held at that time, microseconds since 1970; None where none was named for it.

        One that is named and missing prices nothing, which is not the same.
        """
        held = [one for one in self._assigned.get((account, subject), ()) if one.starts_at <= at]
        if not held:
            return None
        name = held[-1].list_name
        if not name:
            # it had one, and has none any more
            return None
        return self.lists.get(name) or PriceList(name, ())

    def is_known(self, tenant_uid: str) -> bool:
        """Returns whether it was said by which list the tenant is charged, or that it is not."""
        return (
            self._unbilled is None
            or tenant_uid in self._unbilled
            or ("charge", tenant_uid) in self._assigned
        )
