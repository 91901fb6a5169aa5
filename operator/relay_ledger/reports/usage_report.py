"""What a tenant is told of its use: `GET /v1/usage/report`. Of what the platform pays it learns nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay_ledger.booking.posting import Figures
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
    """Returns the report; groups are by model and usage source. Of many models the dearest are told, and the rest as one sum."""
    models = grouped(groups, "model")
    order = sorted(models, key=lambda name: (-models[name]["charge_pico"], name))
    told, rest = order[:MAX_MODELS], order[MAX_MODELS:]
    report: dict[str, Any] = {
        "object": "usage.report",
        **time.fields(),
        "currency": "USD",
        "summary": {
            **_use(added(group.figures for group in groups)),
            "usage_source": _sources(groups),
        },
        "by_model": [{"model": name, **_use(models[name])} for name in told],
    }
    if rest:
        report["other_models"] = {
            "models": len(rest),
            **_use(added(models[name] for name in rest)),
        }
    return report


def _use(figures: Figures) -> dict[str, Any]:
    return {
        "requests": figures["delivered"],
        "attempts": figures["attempts"],
        "input_tokens": input_tokens(figures),
        "cached_input_tokens": figures["cache_read"],
        "output_tokens": output_tokens(figures),
        "reasoning_tokens": figures["reasoning"],
        "amount": usd_text(figures["charge_pico"]),
        "unpriced_requests": figures["charge_unpriced"],
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
