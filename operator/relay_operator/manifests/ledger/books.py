"""The book that the operator gives the ledger: price lists, what Providers and ToolServers cost, and what each Tenant pays.

A book has everything that people have written, whether or not it can be used: the ledger judges every list by itself, keeps the last good one
in force, and says why.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from relay_contract.billing.price_book import FORM_VERSION

Fields = Mapping[str, Any]

_AMOUNT: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?")
_MICROS: Final = 10**6
_ENTRY: Final = (
    "from",
    "until",
    "serviceTier",
    "region",
    "aboveInputTokens",
    "hours",
    "perPiece",
    "source",
    "checkedAt",
)
"""Fields of an entry that a price file has by the same names."""


def book(
    price_lists: Mapping[str, Fields],
    providers: Mapping[str, Fields],
    tenants: Mapping[str, Fields],
    tool_servers: Mapping[str, Fields] | None = None,
) -> dict[str, Any]:
    """Returns the book of these specs, by name; of tenants each with its name and billing, by UID."""
    costs = [cost_prices(name, spec) for name, spec in sorted(providers.items())]
    servers = sorted((tool_servers or {}).items())
    tools = {name: tool_prices(name, spec) for name, spec in servers if spec.get("prices")}
    lists = [
        *(
            charge_prices(name, spec, percent)
            for name, spec in sorted(price_lists.items())
            for percent in (0, *percents(name, tenants.values()))
        ),
        *(prices for prices in costs if prices["entries"]),
        *tools.values(),
    ]
    content = {
        "v": FORM_VERSION,
        "lists": lists,
        "costs": {
            name: cost_list(name)
            for name, prices in zip(sorted(providers), costs, strict=True)
            if prices["entries"]
        },
        "tenants": {uid: entry_of_tenant(tenant) for uid, tenant in tenants.items()},
    }
    # a ledger that knows nothing of tools takes a book that says nothing of them
    return content | ({"tools": {name: tool_list(name) for name in tools}} if tools else {})


def charge_prices(name: str, spec: Fields, percent: int) -> dict[str, Any]:
    """Returns a PriceList as the ledger reads it, with the percentage of some Tenants on top."""
    entries = [
        {**_entry(price), **_of_model(model)}
        for model in _in_order(spec.get("models") or ())
        for price in model.get("prices") or ()
    ]
    tools = [
        {**_tool_price(tool, price), **_of_server(tool)}
        for tool in sorted(spec.get("tools") or (), key=_place_of_tool)
        for price in tool.get("prices") or ()
    ]
    prices = {
        "name": charge_list({"priceList": name, "markupPercent": percent}),
        "currency": spec.get("currency"),
        "entries": [_with_markup(one, percent) for one in entries] if percent else entries,
    }
    if not tools:
        return prices
    return prices | {
        "tools": [
            one | {"perCall": _marked_up(one["perCall"], percent)} if percent else one
            for one in tools
        ]
    }


def percents(name: str, tenants: Iterable[Fields]) -> list[int]:
    """Returns the percentages that Tenants have on top of a PriceList, in order."""
    found = (tenant.get("billing") or {} for tenant in tenants)
    return sorted(
        {
            one["markupPercent"]
            for one in found
            if one.get("priceList") == name and one.get("markupPercent")
        }
    )


def charge_list(billing: Fields) -> str | None:
    """Returns the name of the list that a Tenant is charged by, None if it is not billed."""
    name, percent = billing.get("priceList"), billing.get("markupPercent") or 0
    return name if name is None or not percent else f"{name}.markup.{percent}"


def cost_list(provider: str) -> str:
    """Returns the name of the list of what a Provider costs. No PriceList's has two points."""
    return f"cost..{provider}"


def tool_list(server: str) -> str:
    """Returns the name of the list of what calls at a ToolServer cost; no Provider's and no PriceList's begins so."""
    return f"tools..{server}"


def entry_of_tenant(tenant: Fields) -> dict[str, Any]:
    """Returns what the book says of a Tenant, given its name and billing."""
    billing = tenant.get("billing") or {}
    told = {
        "name": tenant["name"],
        "list": charge_list(billing),
        "zone": billing.get("zone"),
        "currency": billing.get("currency"),
    }
    return {name: value for name, value in told.items() if value}


def unpriced_models(provider: Fields) -> list[str]:
    """Returns the models of a Provider's spec that nothing says the price of."""
    models: Iterable[Fields] = provider.get("models") or ()
    return [str(model["name"]) for model in models if not list(_model_prices(model))]


def _in_order(models: Iterable[Fields]) -> list[Fields]:
    # another order of the same prices is no other version
    return sorted(models, key=lambda model: (str(model.get("name")), str(model.get("provider"))))


def _of_model(model: Fields) -> dict[str, Any]:
    named = {"models": [model.get("name")]}
    return named | ({"provider": model["provider"]} if model.get("provider") else {})


def cost_prices(name: str, spec: Fields) -> dict[str, Any]:
    """Returns what a Provider costs, as the ledger reads it; without entries nothing says so."""
    taken: set[str] = set()
    entries: list[dict[str, Any]] = []
    for model in _in_order(spec.get("models") or ()):
        answers = (model.get("name"), model.get("upstreamName"), *(model.get("answersAs") or ()))
        # several of our names may lead to one of the provider's; the first one's prices are its
        own = [one for one in dict.fromkeys(answers) if one and one.lower() not in taken]
        taken |= {one.lower() for one in own}
        if own:
            entries += [{**price, "models": own} for price in _model_prices(model)]
    return {"name": cost_list(name), "currency": "USD", "entries": entries}


def tool_prices(name: str, spec: Fields) -> dict[str, Any]:
    """Returns what calls at a ToolServer cost, as the ledger reads it."""
    tools = [
        _tool_price(tool, price)
        for tool in sorted(spec.get("prices") or (), key=_place_of_tool)
        for price in tool.get("prices") or ()
    ]
    return {"name": tool_list(name), "currency": "USD", "entries": [], "tools": tools}


def _place_of_tool(tool: Fields) -> tuple[str, str]:
    return str(tool.get("server")), str(tool.get("name"))


def _of_server(tool: Fields) -> dict[str, Any]:
    return {"server": tool["server"]} if tool.get("server") else {}


def _tool_price(tool: Fields, price: Fields) -> dict[str, Any]:
    fields = ("from", "until", "toolErrors", "source", "checkedAt")
    named = {name: price[name] for name in fields if name in price}
    return named | {"tools": [tool.get("name")], "perCall": price.get("perCall")}


def _model_prices(model: Fields) -> Iterator[dict[str, Any]]:
    prices = model.get("prices") or ()
    yield from map(_entry, prices)
    short = {
        "input": model.get("inputPrice") or 0,
        "output": model.get("outputPrice") or 0,
    }
    if not prices and any(short.values()):
        yield {"prices": {name: _text(micro) for name, micro in short.items()}}


def _entry(price: Fields) -> dict[str, Any]:
    entry = {name: price[name] for name in _ENTRY if name in price}
    return entry | {"prices": price.get("perMillionTokens")}


def _with_markup(entry: dict[str, Any], percent: int) -> dict[str, Any]:
    marked = dict(entry)
    for field in ("prices", "perPiece"):
        if isinstance(entry.get(field), Mapping):
            marked[field] = {
                name: _marked_up(amount, percent) for name, amount in entry[field].items()
            }
    return marked


def _marked_up(amount: Any, percent: int) -> Any:
    """Adds a percentage to an amount and rounds it once, half to even; what is no amount stays, for the ledger to refuse."""
    found = _AMOUNT.fullmatch(amount) if isinstance(amount, str) else None
    if found is None:
        return amount
    micro = int(found[1]) * _MICROS + int((found[2] or "").ljust(6, "0"))
    quotient, rest = divmod(micro * (100 + percent), 100)
    return _text(quotient + (rest > 50 or (rest == 50 and quotient % 2 == 1)))


def _text(micro: int) -> str:
    whole, fraction = divmod(micro, _MICROS)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")
