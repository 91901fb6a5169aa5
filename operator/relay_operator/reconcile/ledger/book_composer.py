"""Composes the book of prices a piece at a time: the operator's other work goes on between pieces, and what has not changed is kept as it is sent."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from relay_contract.billing.price_book import FORM_VERSION, book_bytes, book_digest
from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Tenant
from relay_operator.api.tool_server import ToolServer
from relay_operator.manifests.ledger import books
from relay_operator.reconcile.watched_objects import Invalid, Watched

Fields = Mapping[str, Any]
_AT_ONCE: Final = 200
"""Tenants between two turns of the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedBook:
    """A book as it is sent, and of it: each list, what it says of each Tenant by UID, how many Tenants name a PriceList, and which
    lists are made of it for them.
    """

    content: bytes = b""
    digest: str = ""
    lists: Mapping[str, bytes] = field(default_factory=dict)
    tenants: Mapping[str, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    made_of: Mapping[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _List:
    """A list as it is sent, empty without entries, and what it was rendered from: another object may say something else."""

    source: Any
    content: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the book says of a Tenant, and the PriceList that it names with its percentage; "" if it names none."""

    source: Any
    content: bytes
    price_list: str
    percent: int


class BookComposer:
    """Remembers what it has rendered for as long as it is in the book."""

    def __init__(self) -> None:
        self._lists: dict[str, _List] = {}
        self._entries: dict[str, _Entry] = {}

    async def compose(
        self,
        price_lists: Mapping[str, Fields],
        providers: Mapping[str, Watched[Provider]],
        tenants: Mapping[str, Watched[Tenant]],
        tool_servers: Mapping[str, Watched[ToolServer]],
    ) -> ComposedBook:
        """Returns the book of these objects, by name."""
        entries = await self._entries_of(tenants)
        made_of = {name: {0} for name in price_lists}
        counts: Counter[str] = Counter()
        for one in entries.values():
            if one.price_list:
                counts[one.price_list] += 1
                made_of.setdefault(one.price_list, set()).add(one.percent)
        lists: dict[str, _List] = {}
        for name, spec in sorted(price_lists.items()):
            for percent in sorted(made_of[name]):
                listed = _charge_list(name, percent)
                lists[listed] = await self._list(
                    listed, spec, partial(_charge_bytes, name, spec, percent)
                )
        costs: dict[str, str] = {}
        for name, watched in sorted(providers.items()):
            listed = books.cost_list(name)
            prices = await self._list(listed, _source(watched), partial(_cost_bytes, watched))
            if prices.content:
                lists[listed], costs[name] = prices, listed
        of_tools = await self._lists_of_tools(tool_servers)
        lists |= {books.tool_list(name): prices for name, prices in of_tools.items()}
        tools = {name: books.tool_list(name) for name in of_tools}
        self._lists, self._entries = lists, entries
        content = _joined(costs, tools, lists, entries)
        return ComposedBook(
            content=content,
            digest=book_digest(content),
            lists={name: one.content for name, one in lists.items()},
            tenants={uid: one.content for uid, one in entries.items()},
            counts=counts,
            made_of={
                name: {_charge_list(name, percent) for percent in percents}
                for name, percents in made_of.items()
            },
        )

    async def _lists_of_tools(
        self, tool_servers: Mapping[str, Watched[ToolServer]]
    ) -> dict[str, _List]:
        """Returns what calls at servers cost, of those that have prices."""
        found = {
            name: await self._list(
                books.tool_list(name), _source(watched), partial(_tool_bytes, watched)
            )
            for name, watched in sorted(tool_servers.items())
        }
        return {name: prices for name, prices in found.items() if prices.content}

    async def _entries_of(self, tenants: Mapping[str, Watched[Tenant]]) -> dict[str, _Entry]:
        found: dict[str, _Entry] = {}
        for number, (name, watched) in enumerate(tenants.items(), start=1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            known = self._entries.get(watched.uid)
            if known is None or known.source is not _source(watched):
                known = _entry(name, watched)
            found[watched.uid] = known
        return found

    async def _list(self, name: str, source: Any, render: Callable[[], bytes]) -> _List:
        known = self._lists.get(name)
        if known is not None and known.source is source:
            return known
        await asyncio.sleep(0)
        return _List(source, render())


def _entry(name: str, watched: Watched[Tenant]) -> _Entry:
    tenant = {"name": name, **_spec(watched, {"billing"})}
    billing = tenant.get("billing") or {}
    return _Entry(
        source=_source(watched),
        content=tenant_bytes(tenant),
        price_list=str(billing.get("priceList") or ""),
        percent=billing.get("markupPercent") or 0,
    )


def _charge_list(name: str, percent: int) -> str:
    return str(books.charge_list({"priceList": name, "markupPercent": percent}))


def _charge_bytes(name: str, spec: Fields, percent: int) -> bytes:
    return book_bytes(books.charge_prices(name, spec, percent))


def tenant_bytes(tenant: Fields) -> bytes:
    """Returns what the book says of a Tenant, given its name and billing."""
    return book_bytes(books.entry_of_tenant(tenant))


def cost_bytes(name: str, spec: Fields) -> bytes:
    """Returns the list of what a Provider costs; empty without entries."""
    prices = books.cost_prices(name, spec)
    return book_bytes(prices) if prices["entries"] else b""


def tool_bytes(name: str, spec: Fields) -> bytes:
    """Returns the list of what calls at a ToolServer cost; empty where nothing says so."""
    return book_bytes(books.tool_prices(name, spec)) if spec.get("prices") else b""


def _tool_bytes(watched: Watched[ToolServer]) -> bytes:
    return tool_bytes(watched.name, _spec(watched, {"prices"}))


def _cost_bytes(watched: Watched[Provider]) -> bytes:
    return cost_bytes(watched.name, _spec(watched, {"models"}))


def _joined(
    costs: Mapping[str, str],
    tools: Mapping[str, str],
    lists: Mapping[str, _List],
    entries: Mapping[str, _Entry],
) -> bytes:
    """Returns the bytes that book_bytes makes of the whole book."""
    tenants = (
        b"%s:%s" % (json.dumps(uid).encode(), one.content) for uid, one in sorted(entries.items())
    )
    return b'{"costs":%s,"lists":[%s],"tenants":{%s},%s"v":%d}' % (
        book_bytes(costs),
        b",".join(one.content for one in lists.values()),
        b",".join(tenants),
        b'"tools":%s,' % book_bytes(tools) if tools else b"",
        FORM_VERSION,
    )


def _source(watched: Watched[Any]) -> Any:
    # the status that a resource comes with is another each time it is written
    resource = watched.resource
    return resource if isinstance(resource, Invalid) else resource.spec


def _spec(watched: Watched[Any], fields: set[str]) -> dict[str, Any]:
    """Returns some fields of a spec as somebody wrote them: one that cannot be used for relays has prices all the same."""
    if isinstance(watched.resource, Invalid):
        spec = watched.resource.spec
        return {name: spec[name] for name in fields if isinstance(spec, Mapping) and name in spec}
    return spec_of(watched.resource, fields)


def spec_of(resource: Provider | Tenant | ToolServer, fields: set[str]) -> dict[str, Any]:
    """Returns some fields of a valid object's spec, as the book reads them."""
    dumped: dict[str, Any] = resource.spec.model_dump(
        mode="json", by_alias=True, include=fields, exclude_defaults=True
    )
    return dumped
