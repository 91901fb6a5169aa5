"""The preflights of one worker: which canaries are to be probed, when next, and how far each has come."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.preflight.findings import Finding
from relay.calls.preflight.probe import Probe
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.routing.snapshot import RoutePlan
from relay_contract.document import Provider, Route
from relay_contract.preflight import PreflightReason, PreflightState, reached_by

AGAIN_SECONDS: Final = 5.0
"""Pause after a probe that failed, which doubles with each further one."""
LONGEST_AGAIN_SECONDS: Final = 60.0
MOST_AT_ONCE: Final = 4
"""Probes under way in a worker: a document may bring hundreds, and callers come first."""
PreflightName = tuple[str, str, str]
"""Tenant UID, route and token."""
PreflightRow = tuple[str, str, str, PreflightState, PreflightReason, str]
"""Name, state, reason and message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A preflight that a document asks for. models are those that the route is known to take, in order."""

    tenant: TenantRuntime
    plan: RoutePlan
    models: tuple[str, ...]


class Preflight:
    """One preflight. due_at is when it is probed next, in monotonic seconds."""

    __slots__ = ("asked", "due_at", "failures", "message", "probe", "reason", "state")

    def __init__(self, asked: Asked, *, passed: bool) -> None:
        self.asked = asked
        self.state: PreflightState = "Passed" if passed else "Running"
        self.reason: PreflightReason = ""
        self.message = ""
        self.failures = 0
        self.due_at = 0.0
        self.probe: Probe | None = None

    def renew(self, asked: Asked) -> None:
        """Takes a newer document's words for the same preflight; another address or model is probed at once.

        What was found says nothing about it, whether the last probe failed or passed.
        """
        former, self.asked = self.asked, asked
        if _reached_by(former) != _reached_by(asked):
            self.abort()
            self.state, self.reason, self.message = "Running", "", ""
            self.failures, self.due_at = 0, 0.0

    def abort(self) -> None:
        """Ends the probe under way."""
        probe, self.probe = self.probe, None
        if probe is not None:
            probe.abort()

    def note(self, found: Finding, now: float) -> None:
        """Takes the end of a probe."""
        self.probe = None
        self.reason, self.message = found.reason, found.message
        if not found.reason:
            self.state = "Passed"
            return
        self.state = "Failed"
        self.due_at = now + min(
            LONGEST_AGAIN_SECONDS, AGAIN_SECONDS * 2.0 ** min(self.failures, 16)
        )
        self.failures += 1


class Preflights:
    """Probes while this worker has the duty; another worker of the pod has it otherwise. watcher hears of every change."""

    __slots__ = ("_exceptions", "_of", "_on_duty", "_passed", "_providers", "_stopped", "watcher")

    def __init__(self, providers: ProviderAccess, exceptions: ExceptionLog) -> None:
        self._providers = providers
        self._exceptions = exceptions
        self._of: dict[PreflightName, Preflight] = {}
        self._passed: set[PreflightName] = set()
        self._on_duty = self._stopped = False
        self.watcher: Callable[[], None] | None = None

    def install(self, tenants: Iterable[TenantRuntime]) -> None:
        """Follows the documents in force: what none of them asks for any more ends."""
        asked = dict(_asked(tenants))
        for gone in self._of.keys() - asked.keys():
            self._of.pop(gone).abort()
        for name, one in asked.items():
            known = self._of.get(name)
            if known is None:
                self._of[name] = Preflight(one, passed=name in self._passed)
            else:
                known.renew(one)
                if known.state != "Passed":
                    self._passed.discard(name)
        self._passed &= self._of.keys()
        self.tick(time.monotonic())
        self._tell()

    def take_duty(self, *, on_duty: bool, passed: Iterable[PreflightName]) -> None:
        """Begins or ends to probe; passed are the preflights that another worker of the pod has passed."""
        self._on_duty = on_duty
        self._passed = set(passed)
        for name, one in self._of.items():
            if not on_duty:
                one.abort()
            elif name in self._passed:
                one.state = "Passed"
        self.tick(time.monotonic())
        self._tell()

    def stop(self) -> None:
        """Ends every probe for good: the pod is about to go."""
        self._stopped = True
        for one in self._of.values():
            one.abort()

    def tick(self, now: float) -> None:
        """Ends what has taken too long and starts what is due; call it every second."""
        for one in self._of.values():
            probe = one.probe
            if probe is not None:
                # it may end with this, and is then no probe of this preflight any more
                probe.expire(now)
        room = MOST_AT_ONCE - self.under_way
        if not self._on_duty or self._stopped or room <= 0:
            return
        # who has waited longest comes first: some that hang must not keep others from their first probe
        due = [
            (one.due_at, name)
            for name, one in self._of.items()
            if one.probe is None and one.state != "Passed" and now >= one.due_at
        ]
        due.sort()
        for _, name in due[:room]:
            self._begin(name, self._of[name])

    def rows(self) -> list[PreflightRow]:
        """Returns every preflight that is asked for, with its state."""
        return [(*name, one.state, one.reason, one.message) for name, one in self._of.items()]

    @property
    def under_way(self) -> int:
        """The number of probes under way."""
        return sum(one.probe is not None for one in self._of.values())

    def _begin(self, name: PreflightName, one: Preflight) -> None:
        asked = one.asked
        watch = _Watch(self, name, one)
        one.probe = Probe(
            self._providers, self._exceptions, asked.tenant, asked.plan, asked.models, watch.done
        )
        one.probe.start()

    def ended(self, name: PreflightName, one: Preflight, found: Finding) -> None:
        """Takes the end of a probe that was not aborted."""
        if self._of.get(name) is one:
            one.note(found, time.monotonic())
            self._tell()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Starts what had to wait for a probe that has ended."""
        try:
            self.tick(time.monotonic())
        except Exception as raised:  # called by the event loop, which would only log it
            self._exceptions.note(raised)

    def _tell(self) -> None:
        if self.watcher is not None:
            self.watcher()


class _Watch:
    """Knows which preflight a probe belongs to."""

    __slots__ = ("_name", "_one", "_preflights")

    def __init__(self, preflights: Preflights, name: PreflightName, one: Preflight) -> None:
        self._preflights = preflights
        self._name = name
        self._one = one

    def done(self, found: Finding) -> None:
        """Takes the probe's end."""
        self._preflights.ended(self._name, self._one, found)


def _reached_by(asked: Asked) -> tuple[str | None, Provider]:
    canary = asked.plan.canary
    assert canary is not None
    return reached_by(canary.model, canary.upstream.provider)


def _asked(tenants: Iterable[TenantRuntime]) -> Iterator[tuple[PreflightName, Asked]]:
    for tenant in tenants:
        snapshot = tenant.snapshot
        for route, plan in zip(snapshot.document.tenant.routes, snapshot.plans, strict=True):
            if route.preflight is not None and plan.canary is not None:
                name = (tenant.uid, route.name, route.preflight)
                yield name, Asked(tenant, plan, _models(route, plan))


def _models(route: Route, plan: RoutePlan) -> tuple[str, ...]:
    """Returns the models that callers may ask the route for, as far as the document knows them.

    The canary's own model, where it has one, is asked for whichever of them it is.
    """
    canary = plan.canary
    assert canary is not None
    if canary.model is not None:
        return (canary.model,)
    stable = plan.stable
    known = route.match.models or tuple(canary.upstream.models)
    return known or ((stable.model,) if stable.model else tuple(stable.upstream.models))
