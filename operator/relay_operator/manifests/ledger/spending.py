"""What bounds a tenant's spending, as its relays get it and as the ledger does.

A relay has all prices of the list: it reserves the dearest that a call can come to, and settles by those that the ledger books by.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from relay_contract import spending as contract
from relay_contract.billing.budget import BudgetTerms, CreditTerms, TenantBudget
from relay_contract.billing.service_tiers import STANDARD, normal_tier
from relay_contract.spending import MAX_RATES, MAX_TOOL_RATES, Rate, Spending, ToolRate
from relay_contract.tools.patterns import STAR
from relay_operator.api.tenant import Billing, Tenant
from relay_operator.manifests.document_size import RATES_BYTES, TOOL_RATES_BYTES, size_of
from relay_operator.manifests.ledger import books
from relay_operator.manifests.ledger.money import PICOS_PER_MICRO, micro_usd

Fields = Mapping[str, Any]
_EARLIER_RATES: Final = 256
_EARLIER_PRICE: Final = 10**9
_EARLIER_CALL: Final = 10**8
_EARLIER_FIELDS: Final = (
    *("model", "provider", "starts_at", "ends_at", "above_input_tokens"),
    *("input", "cached", "output", "call"),
)
"""What relays take that do not know of tiers, regions and hours: how many rates, what a rate may come to, and what it says."""


def spending(
    billing: Billing, rates: tuple[Rate, ...], tool_rates: tuple[ToolRate, ...] = ()
) -> Spending | None:
    """Composes a tenant's part of the document; rates are what charge_rates and charge_tool_rates make of its price list."""
    limits: list[contract.LimitName] = []
    if billing.budget is not None and billing.budget.hard:
        limits.append("budget")
    if billing.credit is not None:
        limits.append("credit")
    caps = billing.session_caps
    refuses = refuses_unpriced(billing)
    charges = billing.on_abandoned == "Charge"
    if not limits and caps is None and not refuses and not charges:
        return None
    return Spending(
        limits=tuple(limits),
        on_ledger_away=billing.on_ledger_away,
        on_unpriced=_told_of_unpriced(refuses=refuses, has_limits=bool(limits)),
        on_abandoned="Charge" if charges else None,
        rates=rates if reckons(billing) else (),
        # a session's cap counts no tools
        tool_rates=tool_rates if limits or billing.on_unpriced == "Refuse" else (),
        session_caps=None
        if caps is None
        else contract.SessionCaps(
            calls=caps.calls,
            tokens=caps.tokens,
            amount_micro=micro_usd(caps.amount) if caps.amount is not None else None,
        ),
    )


def _told_of_unpriced(*, refuses: bool, has_limits: bool) -> contract.OnUnpriced | None:
    """Returns what a document says where it is not what relays do without a word, which is all that those of an earlier version know."""
    if refuses == has_limits:
        return None
    return "Refuse" if refuses else "Serve"


def without_ledger(billing: Billing) -> Spending | None:
    """Composes what relays count themselves, on a platform that has no ledger: the calls and tokens of a session."""
    caps = billing.session_caps
    if caps is None or (caps.calls is None and caps.tokens is None):
        return None
    return Spending(session_caps=contract.SessionCaps(calls=caps.calls, tokens=caps.tokens))


def for_earlier_relays(found: Spending | None) -> Spending | None:
    """Returns it as relays know it that have the prices of the standard tier, of no region and of all hours alone."""
    if found is None:
        return None
    by_model: dict[str, list[Rate]] = {}
    for rate in found.rates:
        if not (rate.tier or rate.region or rate.hours):
            by_model.setdefault(rate.model, []).append(_plain(rate))
    kept: list[Rate] = []
    for rates in by_model.values():
        # with some of its rates a model's calls would be reckoned at wrong prices
        if len(kept) + len(rates) <= _EARLIER_RATES and all(map(_is_known_earlier, rates)):
            kept += rates
    changed = {"rates": tuple(kept), "on_unpriced": None, "on_abandoned": None}
    is_other = any(getattr(found, name) != value for name, value in changed.items())
    return found.model_copy(update=changed) if is_other else found


def _plain(rate: Rate) -> Rate:
    kept = {name: getattr(rate, name) for name in _EARLIER_FIELDS}
    # they know no rate without a price of output, such as that of embeddings, which have none
    return Rate(**kept | {"output": max(rate.output or 0, rate.reasoning or 0)})


def _is_known_earlier(rate: Rate) -> bool:
    if rate.input is None or rate.cached is None:
        return False
    dearest = max(rate.input, rate.cached, rate.output or 0)
    return dearest <= _EARLIER_PRICE and rate.call <= _EARLIER_CALL


def reckons(billing: Billing) -> bool:
    """Tells whether relays reckon what a tenant's calls cost before they send them."""
    return _bounds_money(billing) or refuses_unpriced(billing)


def refuses_unpriced(billing: Billing) -> bool:
    """Tells whether relays refuse calls that have no price: as the spec says, else where money is bounded, which they would not count for."""
    if billing.on_unpriced is not None:
        return billing.on_unpriced == "Refuse"
    return _bounds_money(billing)


def _bounds_money(billing: Billing) -> bool:
    is_hard = billing.budget is not None and billing.budget.hard
    caps = billing.session_caps
    return is_hard or billing.credit is not None or (caps is not None and caps.amount is not None)


def tenant_budget(tenant: Tenant) -> TenantBudget:
    """Composes what the ledger is told of a tenant."""
    billing = tenant.spec.billing
    budget, credit = billing.budget, billing.credit
    return TenantBudget(
        tenant_uid=tenant.metadata.uid,
        tenant=tenant.metadata.name,
        # what bounds nothing is taken whatever the zone, or the ledger would go on with what it has
        zone="UTC" if budget is None and credit is None else billing.zone,
        budget=None
        if budget is None
        else BudgetTerms(
            amount_pico=micro_usd(budget.amount) * PICOS_PER_MICRO,
            period=budget.period,
            hard=budget.hard,
            alert_at_percent=tuple(sorted(set(budget.alert_at_percent))),
        ),
        credit=None
        if credit is None
        else CreditTerms(
            alert_below_pico=tuple(
                sorted({micro_usd(below) * PICOS_PER_MICRO for below in credit.alert_below})
            )
        ),
    )


def charge_rates(price_list: Fields, percent: int) -> tuple[tuple[Rate, ...], tuple[str, ...]]:
    """Returns what relays reckon by, the rates of a PriceList's spec with a percentage on top, and the models for which the document
    has no room. Of those it has no rate: with some of their rates calls would be reckoned at wrong prices.
    """
    by_model: dict[str, list[Rate]] = {}
    for entry in books.charge_prices("", price_list, percent)["entries"]:
        for model in filter(None, entry["models"]):
            rate = _rate(entry, model)
            by_model.setdefault(rate.model, []).append(rate)
    rates: list[Rate] = []
    left_out: list[str] = []
    room = RATES_BYTES
    for model, found in by_model.items():
        size = sum(map(size_of, found))
        if len(rates) + len(found) > MAX_RATES or size > room:
            left_out.append(model)
        else:
            rates += found
            room -= size
    return tuple(rates), tuple(left_out)


def charge_tool_rates(
    price_list: Fields, percent: int
) -> tuple[tuple[ToolRate, ...], tuple[str, ...]]:
    """Returns the same of tools. Of a server for whose prices the document has no room one rate says that it has none, so that its
    calls are refused and not reckoned at a price that is another's; those servers are told, as patterns of all their tools.
    """
    by_server: dict[str, list[ToolRate]] = {}
    for entry in books.charge_prices("", price_list, percent).get("tools", ()):
        for name in filter(None, entry["tools"]):
            by_server.setdefault(entry.get("server") or "", []).append(_tool_rate(entry, name))
    rates: list[ToolRate] = []
    left_out: list[str] = []
    none = {server: ToolRate(server=server or None, name=STAR, call=None) for server in by_server}
    # what says that a server has no price has its place in any case
    room = MAX_TOOL_RATES - len(by_server)
    room_bytes = TOOL_RATES_BYTES - sum(map(size_of, none.values()))
    for server, found in by_server.items():
        size = sum(map(size_of, found))
        if len(found) > room + 1 or size > room_bytes + size_of(none[server]):
            left_out.append(f"{server or STAR}/{STAR}")
            rates.append(none[server])
        else:
            rates += found
            room += 1 - len(found)
            room_bytes += size_of(none[server]) - size
    return tuple(rates), tuple(left_out)


def _tool_rate(entry: Fields, name: str) -> ToolRate:
    return ToolRate(
        server=entry.get("server") or None,
        name=name,
        starts_at=_micros(entry.get("from")) or 0,
        ends_at=_micros(entry.get("until")),
        call=micro_usd(entry["perCall"]),
        pays_errors=entry.get("toolErrors") != "Free",
    )


def _rate(entry: Fields, model: str) -> Rate:
    prices, pieces = entry.get("prices") or {}, entry.get("perPiece") or {}
    tier = normal_tier(entry.get("serviceTier"))
    read, cached = _price(prices, "input"), _price(prices, "cacheRead")
    return Rate(
        model=model.strip().lower(),
        provider=entry.get("provider") or None,
        starts_at=_micros(entry.get("from")) or 0,
        ends_at=_micros(entry.get("until")),
        above_input_tokens=entry.get("aboveInputTokens") or 0,
        input=read,
        cached=read if cached is None else cached,
        output=_price(prices, "output"),
        # beside tokens: a list that says nothing of calls charges nothing for them
        call=_price(pieces, "call") or 0,
        tier="" if tier == STANDARD else tier,
        region=entry.get("region") or "",
        hours=_seconds_of_day(entry.get("hours")),
        cache_write=_price(prices, "cacheWrite"),
        cache_write_hour=_price(prices, "cacheWriteHour"),
        tool_prompt=_price(prices, "toolPrompt"),
        reasoning=_price(prices, "reasoning"),
        audio_input=_price(prices, "audioInput"),
        audio_output=_price(prices, "audioOutput"),
        web_search=_price(pieces, "webSearch"),
        web_fetch=_price(pieces, "webFetch"),
    )


def _price(amounts: Fields, name: str) -> int | None:
    text = amounts.get(name)
    return None if text is None else micro_usd(text)


def _seconds_of_day(hours: Fields | None) -> tuple[int, int] | None:
    if hours is None:
        return None
    start, end = (
        int(hour) * 3600 + int(minute) * 60
        for hour, minute in (str(hours[name]).split(":") for name in ("start", "end"))
    )
    return start, end


def _micros(moment: Any) -> int | None:
    if moment is None:
        return None
    at = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 10**6
