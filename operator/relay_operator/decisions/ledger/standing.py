"""What the ledger tells the operator (relay_contract.billing.price_book), read leniently: a newer ledger may tell more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_contract.billing.reconciliation_summary import Summary, read_summary


@dataclass(frozen=True, slots=True)
class ToldList:
    """A price list as the ledger has it: the version in force, empty if there is none; what keeps the newest from it; and since when it
    changes prices of what is booked, None if it does not, 0 for ever. models are those.
    """

    version: str = ""
    problem: str = ""
    since: int | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Month:
    """What a tenant has spent in a month so far, as the ledger writes both."""

    month: str
    spent: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found last of a provider's last period, in the ledger's words. Times are microseconds since 1970."""

    start: int
    made_at: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Standing:
    """book is the digest of the one in force. problems are by tenant, months by tenant; unpriced models by Provider, and by tenant, whose tools are
    among them as SERVER/TOOL; unpriced tools by ToolServer.
    reconciled is by Provider, None where the ledger does not tell.

    is_complete tells whether months and models were told: the answer to a book has neither.
    """

    book: str = ""
    lists: Mapping[str, ToldList] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    months: Mapping[str, Month] = field(default_factory=dict)
    unpriced_costs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpriced_charges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpriced_tool_costs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reconciled: Mapping[str, Reconciled] | None = None
    is_complete: bool = False


def read(told: Mapping[str, Any]) -> Standing:
    """Reads an answer of the ledger; raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    unpriced = told.get("unpriced") or {}
    return Standing(
        book=str(told["book"] or ""),
        lists={name: _list(one) for name, one in told["lists"].items()},
        problems={uid: str(problem) for uid, problem in told["tenants"].items()},
        months={
            uid: Month(str(one["month"]), str(one["spent"]))
            for uid, one in (told.get("months") or {}).items()
        },
        unpriced_costs=_models(unpriced.get("cost")),
        unpriced_charges=_models(unpriced.get("charge")),
        unpriced_tool_costs=_models(unpriced.get("tool_cost")),
        reconciled=_reconciliations(told.get("reconciliations")),
        is_complete="months" in told,
    )


def _list(told: Mapping[str, Any]) -> ToldList:
    dated = told.get("backDated")
    return ToldList(
        version=str(told.get("version") or ""),
        problem=str(told.get("problem") or ""),
        since=None if dated is None else int(dated["since"]),
        models=() if dated is None else tuple(map(str, dated["models"])),
    )


def _reconciliations(told: Mapping[str, Any] | None) -> dict[str, Reconciled] | None:
    if told is None:
        return None
    return {
        provider: Reconciled(
            start=int(one["start"]),
            made_at=int(one["madeAt"]),
            summary=read_summary(one),
        )
        for provider, one in told.items()
    }


def _models(told: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {subject: tuple(map(str, models)) for subject, models in (told or {}).items()}
