"""Counters of what is booked, by who served it: attempts by the evidence of their tokens, tool calls, and money."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from relay_ledger.store.batch_booking import BookedGroup, Served

MOST_MODELS: Final = 200
"""Models by provider that have series of their own: a provider names what answered, and may name a new one each time."""
OTHER: Final = "other"
PICO_IN_MICRO: Final = 1_000_000


class BookedUse(Collector):
    """Counts since the start, in integers of pico-USD; what is shown is whole micro-USD, which a float holds up to 9 thousand million USD."""

    def __init__(self) -> None:
        self._models: set[tuple[str, str]] = set()
        self._attempts: dict[Served, int] = defaultdict(int)
        self._pico: dict[tuple[str, str, str], int] = defaultdict(int)
        self._calls: dict[str, int] = defaultdict(int)
        self._pico_of_calls: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, groups: Mapping[Served, BookedGroup]) -> None:
        """Counts a batch that is on disk."""
        for (provider, named, source), group in groups.items():
            model = self._shown(provider, named)
            self._attempts[provider, model, source] += group.attempts
            self._pico["cost", provider, model] += group.cost_pico
            self._pico["charge", provider, model] += group.charge_pico

    def add_calls(self, groups: Mapping[str, BookedGroup]) -> None:
        """Counts a batch of tool calls that is on disk, by server: the platform's own, so they are few."""
        for server, group in groups.items():
            self._calls[server] += group.attempts
            self._pico_of_calls["cost", server] += group.cost_pico
            self._pico_of_calls["charge", server] += group.charge_pico

    def collect(self) -> Iterable[Metric]:
        """Returns the families; called from another thread while batches are booked."""
        attempts = CounterMetricFamily(
            "relay_ledger_booked_attempts",
            "Attempts booked, by the evidence of their tokens: provider, partial, estimated, none, unknown.",
            labels=["provider", "model", "source"],
        )
        for served, count in list(self._attempts.items()):
            attempts.add_metric(served, count)
        money = CounterMetricFamily(
            "relay_ledger_booked_micro_usd",
            "Millionths of a US dollar booked, by account: cost (of a provider), charge (of a tenant). Corrections are not in it.",
            labels=["account", "provider", "model"],
        )
        for labels, pico in list(self._pico.items()):
            money.add_metric(labels, pico // PICO_IN_MICRO)
        return (attempts, money, *self._of_calls())

    def _of_calls(self) -> Iterable[Metric]:
        calls = CounterMetricFamily(
            "relay_ledger_booked_tool_calls",
            "Tool calls booked that servers carried out.",
            labels=["server"],
        )
        for server, count in list(self._calls.items()):
            calls.add_metric([server], count)
        money = CounterMetricFamily(
            "relay_ledger_booked_tool_micro_usd",
            "Millionths of a US dollar booked for tool calls, by account: cost (of a tool server), charge (of a tenant). Corrections are not in it.",
            labels=["account", "server"],
        )
        for labels, pico in list(self._pico_of_calls.items()):
            money.add_metric(labels, pico // PICO_IN_MICRO)
        return (calls, money)

    def _shown(self, provider: str, model: str) -> str:
        if (provider, model) not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add((provider, model))
        return model
