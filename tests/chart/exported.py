"""Every metric that the operator, the relays and the ledger export: what alerts, dashboard and docs/metrics.md may name."""

import ast
import asyncio
import functools
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import relay_operator.main
from relay.accounting.metric_catalogue import FAMILIES
from relay.process import admin
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.metrics.queue_collector import QueueCollector
from relay_operator.reconcile.metrics.state_collector import StateCollector
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue

assert relay_operator.main, "its import makes every metric known"

OPERATOR, RELAY, LEDGER = "operator", "relay", "ledger"


@dataclass(frozen=True, slots=True, order=True)
class Exported:
    """A metric; of a histogram the name without _bucket, _count and _sum."""

    by: str
    name: str
    kind: str
    labels: tuple[str, ...]
    help: str

    def series(self) -> Iterable[str]:
        """Returns the names that a query may have."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))

    def selectable(self) -> frozenset[str]:
        """Returns the labels that its series have."""
        return frozenset(self.labels) | ({"le"} if self.kind == "histogram" else set())


@functools.cache
def exported() -> tuple[Exported, ...]:
    """Returns all of them, by who exports them and by name."""
    relays = (Exported(RELAY, one.name, one.kind, tuple(one.labels), one.help) for one in FAMILIES)
    return tuple(
        sorted((*_instruments(), *_collected(), *relays, *_of_documents(), *_of_the_ledger()))
    )


def _of_documents() -> Iterator[Exported]:
    """Goes through the gauges that the admin port of a relay writes itself."""
    for call in ast.walk(ast.parse(inspect.getsource(admin))):
        match call:
            case ast.Call(
                func=ast.Name(id="render_gauge"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(help_)), _],
            ):
                yield Exported(RELAY, name, "gauge", (), help_)


def _instruments() -> Iterator[Exported]:
    for one in list(REGISTRY._collector_to_names):
        if isinstance(one, MetricWrapperBase):
            yield _of(one._name, str(one._type), one._labelnames, one._documentation)


def _of_the_ledger() -> Iterator[Exported]:
    for one in list(LedgerMetrics().registry._collector_to_names):
        if isinstance(one, MetricWrapperBase):
            yield _of(one._name, str(one._type), one._labelnames, one._documentation, by=LEDGER)
        else:
            for family in one.collect():
                labels = family._labelnames  # type: ignore[attr-defined]
                yield _of(family.name, family.type, labels, family.documentation, by=LEDGER)


def _collected() -> Iterator[Exported]:
    for one in asyncio.run(_scraped()):
        yield _of(one.name, one.type, one._labelnames, one.documentation)


async def _scraped() -> list[Any]:
    """Returns the families of the collectors, which read what an operator without a fleet knows."""
    state = WatchedState()
    collectors = (
        StateCollector(
            watched_state=state,
            canaries=CanaryRuns(evidence=Evidence(scrape_seconds=2), budget=Budget(0)),
            isolation=IsolationRecords(
                watched_state=state,
                is_required=True,
                period_seconds=900,
                clock=lambda: 0.0,
                wall=lambda: 0.0,
            ),
        ),
        QueueCollector(WorkQueue(), leads=lambda: True),
    )
    return [family for collector in collectors for family in collector.collect()]


def _of(name: str, kind: str, labels: Iterable[str], help_: str, *, by: str = OPERATOR) -> Exported:
    full = f"{name}_total" if kind == "counter" else name
    return Exported(by, full, kind, tuple(labels), help_)
