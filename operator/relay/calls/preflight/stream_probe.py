"""Asks a provider for a small answer and for the same one as a stream, as a canary's preflight does: on the way that calls take."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.preflight.findings import Finding
from relay.calls.preflight.probe import Probe
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.routing.snapshot import Destination, RoutePlan
from relay_contract.preflight import PreflightReason
from relay_contract.provider_probe import (
    MAX_PROBE_MESSAGE,
    STREAM_PROBE_SECONDS,
    ProbeOutcome,
    ProviderProbe,
)

_OUTCOMES: Final[dict[PreflightReason, ProbeOutcome]] = {
    "": "Answered",
    "Unreachable": "Unreachable",
    "Unauthorized": "Unauthorized",
    "ModelUnknown": "Refused",
    "Throttled": "Throttled",
    "Refused": "Refused",
    "ServerError": "ServerError",
    "NoAnswer": "NoStream",
    "NoStream": "NoStream",
}


class StreamProbe:
    """One probe. done is called once, with what came of it."""

    __slots__ = ("_done", "_is_over", "_probe", "_provider")

    def __init__(
        self,
        providers: ProviderAccess,
        exceptions: ExceptionLog,
        tenant: TenantRuntime,
        plan: RoutePlan,
        model: str,
        done: Callable[[ProviderProbe], None],
    ) -> None:
        assert plan.canary is not None
        self._provider = plan.canary.upstream.name
        self._done = done
        self._is_over = False
        self._probe = Probe(providers, exceptions, tenant, plan, (model,), self._found)

    def start(self) -> None:
        """Sends the first call."""
        self._probe.start()

    def give_up(self) -> None:
        """Ends a probe that takes too long."""
        if not self._is_over:
            self._probe.abort()
            self._end("NoStream", f"it did not end its answers within {STREAM_PROBE_SECONDS:g} s")

    def _found(self, found: Finding) -> None:
        self._end(_OUTCOMES[found.reason], found.message)

    def _end(self, outcome: ProbeOutcome, message: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._done(
            ProviderProbe(
                provider=self._provider,
                outcome=outcome,
                message=message[:MAX_PROBE_MESSAGE],
                streamed=True,
            )
        )


def plan_to(plans: Iterable[RoutePlan], provider: str) -> RoutePlan | None:
    """Returns a route of which the provider is one side, as if it were its canary, whatever model that side is for."""
    for plan in plans:
        side = _side_at(plan, provider)
        if side is not None:
            return replace(plan, canary=replace(side, model=None))
    return None


def _side_at(plan: RoutePlan, provider: str) -> Destination | None:
    for side in (plan.stable, plan.canary, *plan.fallback):
        if side is not None and side.upstream.name == provider:
            return None if side.upstream.provider.closed else side
    return None
