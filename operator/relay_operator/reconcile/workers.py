"""Hands keys from the queue to their reconcilers; the one place where failures become retries."""

import asyncio
import logging
import time

from prometheus_client import Counter, Histogram

from relay_operator.errors import OperatorError
from relay_operator.reconcile.providers import ProviderReconciler
from relay_operator.reconcile.routes import RouteReconciler
from relay_operator.reconcile.tenants import TenantReconciler
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_RECONCILES = Counter(
    "relay_operator_reconciles_total", "Reconciliations by kind and result", ["kind", "result"]
)
_DURATION = Histogram(
    "relay_operator_reconcile_duration_seconds", "Duration of a reconciliation", ["kind"]
)


class Workers:
    """Works on each key with one worker at a time, and on every known object again within resync_seconds."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        tenants: TenantReconciler,
        providers: ProviderReconciler,
        routes: RouteReconciler,
        watched_state: WatchedState,
        resync_seconds: float,
    ) -> None:
        self._queue = queue
        self._tenants = tenants
        self._providers = providers
        self._routes = routes
        self._watched_state = watched_state
        self._resync_seconds = resync_seconds

    async def run(self) -> None:
        """Runs one worker until cancelled."""
        while True:
            key = await self._queue.take()
            failed = True
            started = time.perf_counter()
            try:
                await self._reconcile(key)
                failed = False
            except OperatorError as error:
                logger.warning(
                    "reconcile failed, will retry", extra={**_fields(key), "why": str(error)}
                )
            except asyncio.CancelledError:
                raise
            except (
                Exception
            ):  # the process's entry loop: a bug in one object must not stop all others
                logger.exception("reconcile failed unexpectedly, will retry", extra=_fields(key))
            finally:
                self._queue.done(key, failed=failed)
                _RECONCILES.labels(key.kind, "failed" if failed else "done").inc()
                _DURATION.labels(key.kind).observe(time.perf_counter() - started)
            if not failed and self._watched_state.knows(key.kind, key.namespace, key.name):
                self._queue.add_after(key, self._resync_seconds)

    async def _reconcile(self, key: Key) -> None:
        match key.kind:
            case "Tenant":
                await self._tenants.reconcile(key.name)
            case "Provider":
                await self._providers.reconcile(key.name)
            case "RelayRoute":
                await self._routes.reconcile(key.namespace, key.name)
            case _:
                raise AssertionError(f"nobody reconciles {key.kind}")


def _fields(key: Key) -> dict[str, str]:
    return {"kind": key.kind, "object": f"{key.namespace}/{key.name}".lstrip("/")}
