"""What a tenant is told of its use: `GET /v1/usage/report`. Of what the platform pays it learns nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay_ledger.booking.posting import Figures
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.figures import (
    USAGE_SOURCES,
    Group,
    added,
    all_tokens,
    grouped,
    input_tokens,
    output_tokens,
    share,
)

MAX_MODELS = 200
USAGE_DIMENSIONS = ("side", "provider", "model", "usage_source")
MAX_TOOLS = 1000
"""More than a manifest defines (256), with those of former ones."""


@dataclass(frozen=True, slots=True)
class ReportedTime:
    """The time of a report, at quarters of an hour, and the zone in which its days are meant."""

    start: int
    end: int
    zone: str

    def fields(self) -> dict[str, str]:
        """Returns it as fields of an answer."""
        return {"start": utc_text(self.start), "end": utc_text(self.end), "zone": self.zone}


def usage_report(time: ReportedTime, groups: Sequence[Group]) -> dict[str, Any]:
    """Returns the report; groups are by side, provider, model and usage source. Of many models the dearest are told, and the rest as one
    sum. Calls of tools stand beside them, by server and tool; the amount of the summary is of both.
    """
    calls = [group for group in groups if group.names["side"] == TOOL_SIDE]
    # of what has not ended only a cost is held, which is not the tenant's to know
    attempts = [
        group for group in groups if group.names["side"] != TOOL_SIDE and group.figures["attempts"]
    ]
    models = grouped(attempts, "model")
    order = sorted(models, key=lambda name: (-models[name]["charge_pico"], name))
    told, rest = order[:MAX_MODELS], order[MAX_MODELS:]
    report: dict[str, Any] = {
        "object": "usage.report",
        **time.fields(),
        "currency": "USD",
        "summary": {
            **_use(added(group.figures for group in attempts)),
            **_of_tools(added(group.figures for group in calls)),
            "amount": usd_text(sum(group.figures["charge_pico"] for group in groups)),
            "usage_source": _sources(attempts),
        },
        "by_model": [{"model": name, **_use(models[name])} for name in told],
    }
    if calls:
        report["by_tool"] = [
            {"server": server, "tool": tool, **_called(figures)}
            for (server, tool), figures in _by_tool(calls)
        ]
    if rest:
        report["other_models"] = {
            "models": len(rest),
            **_use(added(models[name] for name in rest)),
        }
    return report


def _use(figures: Figures) -> dict[str, Any]:
    return {
        "requests": figures["delivered"] + figures["abandoned"],
        "abandoned_requests": figures["abandoned"],
        "attempts": figures["attempts"],
        "input_tokens": input_tokens(figures),
        "cached_input_tokens": figures["cache_read"],
        "output_tokens": output_tokens(figures),
        "reasoning_tokens": figures["reasoning"],
        "amount": usd_text(figures["charge_pico"]),
        "unpriced_requests": figures["charge_unpriced"],
    }


def _by_tool(groups: Sequence[Group]) -> list[tuple[tuple[str, str], dict[str, int]]]:
    """Adds up what tools come to, the dearest first."""
    tools: dict[tuple[str, str], list[Figures]] = {}
    for group in groups:
        tools.setdefault((group.names["provider"], group.names["model"]), []).append(group.figures)
    sums = {tool: added(figures) for tool, figures in tools.items()}
    return sorted(sums.items(), key=lambda one: (-one[1]["charge_pico"], one[0]))[:MAX_TOOLS]


def _of_tools(figures: Figures) -> dict[str, Any]:
    return {f"tool_{name}": value for name, value in _called(figures).items()}


def _called(figures: Figures) -> dict[str, Any]:
    return {
        "calls": figures["tool_calls"],
        "amount": usd_text(figures["charge_pico"]),
        "unpriced_calls": figures["charge_unpriced"],
    }


def _sources(groups: Sequence[Group]) -> dict[str, Any]:
    """Returns for each evidence how many attempts have it, and their share of those that used something."""
    found = grouped(groups, "usage_source")
    nothing = added(())
    used = sum(figures["attempts"] for source, figures in found.items() if source != "none")
    return {
        source: {
            "attempts": found.get(source, nothing)["attempts"],
            "tokens": all_tokens(found.get(source, nothing)),
            "share": share(found.get(source, nothing)["attempts"], used),
        }
        for source in USAGE_SOURCES
        if source != "none"
    }
