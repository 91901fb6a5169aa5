"""The preflights of the pod: what the document asks for, which worker has the duty to probe, and what it has found."""

from collections.abc import Iterable
from typing import Any

from relay.process.pod_state.waited_state import WaitedState
from relay_contract.document import Document, Provider
from relay_contract.preflight import MAX_PREFLIGHTS, Preflight, reached_by

PreflightName = tuple[str, str, str]
"""Tenant UID, route and token."""
Reached = tuple[str | None, Provider] | None
"""Model and provider of a route's canary, without what does not decide whether a probe passes."""


class PodPreflights(WaitedState):
    """One worker at a time probes; what it has found outlives it. Workers have numbers."""

    def __init__(self) -> None:
        super().__init__("preflights")
        self._asked: dict[PreflightName, Reached] = {}
        self._digest = ""
        self._told: dict[PreflightName, Preflight] = {}
        self.worker: int | None = None

    def follow(self, document: Document, digest: str) -> None:
        """Takes the preflights that a document asks for in place of those before it.

        What was told stays while the canary is reached in the same way.
        """
        former, self._asked, self._digest = self._asked, _asked(document), digest
        self._told = {
            name: told
            for name, told in self._told.items()
            if name in self._asked and self._asked[name] == former[name]
        }
        self.changed()

    def give_duty(self, workers: Iterable[int]) -> bool:
        """Gives the duty to the first of these workers if the one that had it is none of them; True if it moved."""
        numbers = sorted(workers)
        if self.worker in numbers:
            return False
        self.worker = numbers[0] if numbers else None
        return self.worker is not None

    def report(self, worker: int, digest: str, rows: Iterable[list[Any]]) -> None:
        """Takes in all preflights of the worker on duty; digest names the document in which it has them.

        What it said of a former document, whose canary may have had another address, was on its way.
        """
        if worker != self.worker or digest != self._digest:
            return
        for uid, route, token, state, reason, message in rows:
            if (uid, route, token) in self._asked:
                self._told[uid, route, token] = Preflight(
                    route=route, token=token, state=state, reason=reason, message=message
                )
        self.changed()

    def passed(self) -> list[PreflightName]:
        """Returns the preflights that need not be repeated."""
        return [name for name, told in self._told.items() if told.state == "Passed"]

    def entries(self) -> list[dict[str, Any]]:
        """Returns every preflight that is asked for, by route."""
        told = [
            self._told.get(name) or Preflight(route=name[1], token=name[2], state="Running")
            for name in sorted(self._asked)
        ]
        return [one.model_dump(mode="json", by_alias=True) for one in told]


def _asked(document: Document) -> dict[PreflightName, Reached]:
    tenant = document.tenant
    providers = {provider.name: provider for provider in document.catalogue.providers}
    asked: dict[PreflightName, Reached] = {}
    for route in tenant.routes:
        if route.preflight is not None and len(asked) < MAX_PREFLIGHTS:
            canary = route.canary
            reached = reached_by(canary.model, providers[canary.provider]) if canary else None
            asked[tenant.uid, route.name, route.preflight] = reached
    return asked
