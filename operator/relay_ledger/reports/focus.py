"""What providers bill, as rows of FOCUS 1.2 (FinOps Open Cost and Usage Specification): a row a UTC day, costs with every digit they have.

Costs are those of the platform; a tool call is of side `tool`, its provider a ToolServer. What tenants are charged stands in columns of our own, whose names begin with x_, as the
specification has it. A cost is of attempts that have a price; how many have none stands in x_UnpricedAttempts.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_ledger.booking.posting import Figures
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import Period, month_at, month_period
from relay_ledger.periods.zones import SECOND, utc_text, zone
from relay_ledger.reports.figures import all_tokens
from relay_ledger.reports.text_cells import cell

DAY: Final = 86_400 * SECOND
FOCUS_DIMENSIONS: Final = ("tenant_uid", "provider", "model", "key_name", "side", "route")
_SERVICE_CATEGORY: Final = "AI and Machine Learning"


@dataclass(frozen=True, slots=True)
class DayRow:
    """Sums of a day of UTC; names are by FOCUS_DIMENSIONS."""

    day: int
    names: Mapping[str, str]
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionRow:
    """What a provider's invoice has more, or less, than its attempts. Times are microseconds since 1970."""

    provider: str
    start: int
    end: int
    amount_pico: int


def focus_csv(
    rows: Iterable[DayRow],
    corrections: Iterable[CorrectionRow] = (),
    names: Mapping[str, str] | None = None,
) -> str:
    """Returns the rows with their header, corrections last: all costs together are what was invoiced, where it was compared.

    names are those of tenants by UID; a tenant without one is named by its UID.
    """
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    table.writeheader()
    for row in rows:
        table.writerow(_fields(row, names or {}))
    for correction in corrections:
        table.writerow(_correction(correction))
    return out.getvalue()


def _costs(amount: str, provider: str, month: Period) -> dict[str, Any]:
    return {
        **dict.fromkeys(COLUMNS, ""),
        "BilledCost": amount,
        "EffectiveCost": amount,
        "ListCost": amount,
        "ContractedCost": amount,
        "BillingAccountId": provider,
        "BillingAccountName": provider,
        "BillingAccountType": "Provider",
        "BillingCurrency": "USD",
        "BillingPeriodStart": utc_text(month.start),
        "BillingPeriodEnd": utc_text(month.end),
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "ServiceCategory": _SERVICE_CATEGORY,
        "ServiceSubcategory": "Generative AI",
        "ServiceName": provider,
    }


def _correction(row: CorrectionRow) -> dict[str, Any]:
    month = month_period(month_at(row.start, zone("UTC")), zone("UTC"))
    amount = usd_text(row.amount_pico)
    return {
        **_costs(amount, cell(row.provider), month),
        "ChargeCategory": "Adjustment",
        "ChargeDescription": "the invoice's difference from the attempts",
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": utc_text(row.start),
        "ChargePeriodEnd": utc_text(row.end),
        "x_Margin": usd_text(-row.amount_pico),
    }


def _fields(row: DayRow, tenants: Mapping[str, str]) -> dict[str, Any]:
    names, figures = row.names, row.figures
    is_tool = names["side"] == TOOL_SIDE
    cost = usd_text(figures["cost_pico"])
    month = month_period(month_at(row.day, zone("UTC")), zone("UTC"))
    provider, model = cell(names["provider"]), cell(names["model"])
    quantity = figures["tool_calls"] if is_tool else all_tokens(figures)
    unit = "Calls" if is_tool else "Tokens"
    used = f"{quantity} calls" if is_tool else f"{figures['attempts']} attempts"
    return {
        **_costs(cost, provider, month),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{used} of {model}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": utc_text(row.day),
        "ChargePeriodEnd": utc_text(row.day + DAY),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "PricingCategory": "Standard",
        "ResourceId": model,
        "ResourceName": model,
        "ResourceType": "Tool" if is_tool else "Model",
        "SkuId": model,
        "SubAccountId": names["tenant_uid"],
        "SubAccountName": cell(tenants.get(names["tenant_uid"], names["tenant_uid"])),
        "SubAccountType": "Tenant",
        "x_ApiKeyName": cell(names["key_name"]),
        "x_Route": names["route"],
        "x_Side": names["side"],
        "x_Attempts": figures["attempts"],
        "x_UnpricedAttempts": figures["cost_unpriced"],
        "x_TenantCharge": usd_text(figures["charge_pico"]),
        "x_Margin": usd_text(figures["charge_pico"] - figures["cost_pico"]),
    }


COLUMNS: Final = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType"),
    *("BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart"),
    *("ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit"),
    *("ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
    *("PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName"),
    *("RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId"),
    *("SubAccountId", "SubAccountName", "SubAccountType"),
    *("x_ApiKeyName", "x_Route", "x_Side", "x_Attempts", "x_UnpricedAttempts"),
    *("x_TenantCharge", "x_Margin"),
)
