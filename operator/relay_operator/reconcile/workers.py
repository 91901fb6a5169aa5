"""Hands keys from the queue to their reconcilers; the one place where failures become retries."""

import asyncio
import logging
import time
from typing import Final

from relay_operator.cluster.metrics.catalogue import RECONCILES
from relay_operator.decisions import outcome
from relay_operator.decisions.outcome import Obstacle
from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable
from relay_operator.reconcile.fleet import resync
from relay_operator.reconcile.providers import ProviderReconciler
from relay_operator.reconcile.routes import RouteReconciler
from relay_operator.reconcile.tenancy.tenant_reconciler import TenantReconciler
from relay_operator.reconcile.tools.tool_servers import ToolServerReconciler
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WORKING_AT, Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)

_LONGEST_SECONDS = 120.0
"""A reconcile is given up after this and retried. Each call in it ends earlier; all of them together, with retries, too."""
_LONG_SECONDS = 0.5
"""Far longer than a reconcile takes whose calls are answered: from then on it waits for something, and others have its place."""
SPARE: Final = 96
"""Workers beside those that have a place, for those that wait for something for long."""
_LASTING_SECONDS = 2.0
"""A conflict that is still there by then is no other writer that happened to come first."""
_STUCK_SECONDS = 180.0
"""One that is not even given up by then will never end: only a new process helps."""


class Workers:
    """Works on each key with one worker at a time, and on every known object again within resync_seconds, later in a large fleet."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        tenants: TenantReconciler,
        providers: ProviderReconciler,
        tool_servers: ToolServerReconciler,
        routes: RouteReconciler,
        watched_state: WatchedState,
        resync_seconds: float,
    ) -> None:
        self._queue = queue
        self._tenants = tenants
        self._providers = providers
        self._tool_servers = tool_servers
        self._routes = routes
        self._watched_state = watched_state
        self._resync_seconds = resync_seconds
        self._running: dict[Key, float] = {}
        self._conflicts: dict[Key, float] = {}
        self._is_ending = False

    async def finish(self, seconds: float) -> None:
        """Begins no reconcile any more, and waits at most that long for those under way."""
        self._is_ending = True
        try:
            async with asyncio.timeout(seconds):
                while self._running:  # noqa: ASYNC110 - it happens once, at the end
                    await asyncio.sleep(0.01)
        except TimeoutError:
            logger.warning("reconciles cut short", extra={"objects": len(self._running)})

    def stuck(self) -> str:
        """Names the oldest reconcile that runs for too long; empty while there is none."""
        if not self._running:
            return ""
        key, started = min(self._running.items(), key=lambda item: item[1])
        seconds = asyncio.get_running_loop().time() - started
        if seconds < _STUCK_SECONDS:
            return ""
        return f"the reconcile of {key.kind} {_object(key)} has not ended for {seconds:.0f} s"

    async def run(self, slowest: Urgency = Urgency.BACKGROUND) -> None:
        """Runs one worker until cancelled; it takes what is at least that urgent."""
        self._routes.recall()
        while True:
            # a reconcile that waits for nothing would leave no turn to the watches, the SLO loop and the pushes
            await asyncio.sleep(0)
            key = await self._queue.take(slowest)
            if self._is_ending:
                # a worker that ends would end the lead, and cut short what is waited for
                self._queue.done(key)
                await asyncio.Event().wait()
            ended, started = "defect", time.perf_counter()
            self._running[key] = asyncio.get_running_loop().time()
            WORKING_AT.set(self._queue.urgency_of(key))
            waits_long = asyncio.get_running_loop().call_later(
                _LONG_SECONDS, self._queue.let_go_on, key
            )
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    await self._reconcile(key)
                ended = "done"
                self._conflicts.pop(key, None)
            except TimeoutError:
                ended = "given_up"
                logger.warning(
                    "reconcile given up, will retry",
                    extra={**_fields(key), "why": f"not done in {_LONGEST_SECONDS:.0f} s"},
                )
                await self._tell(key, outcome.of_no_end(_LONGEST_SECONDS))
            except OperatorError as error:
                ended = _ended_by(error)
                logger.warning(
                    "reconcile failed, will retry", extra={**_fields(key), "why": str(error)}
                )
                await self._tell_unless_reported(key, error)
            except asyncio.CancelledError:
                ended = "cancelled"
                raise
            except (
                Exception
            ) as error:  # the entry loop: a bug in one object must not stop all others
                logger.exception("reconcile failed unexpectedly, will retry", extra=_fields(key))
                await self._tell(key, outcome.of_a_defect(error))
            finally:
                waits_long.cancel()
                WORKING_AT.set(Urgency.NORMAL)
                del self._running[key]
                self._queue.done(key, failed=ended != "done")
                RECONCILES.labels(key.kind, ended).observe(time.perf_counter() - started)
            if ended == "done" and self._watched_state.knows(key.kind, key.namespace, key.name):
                self._queue.add_after(key, self._until_resync(key), Urgency.BACKGROUND)

    def _until_resync(self, key: Key) -> float:
        """Returns how long until an object's own moment in the period."""
        period = resync.period_seconds(self._watched_state, self._resync_seconds)
        name = f"{key.kind}/{key.namespace}/{key.name}"
        return resync.wait_seconds(name, period, now=asyncio.get_running_loop().time())

    async def _tell_unless_reported(self, key: Key, error: OperatorError) -> None:
        """Lets a status tell of an error whose reconcile did not; of a conflict, which mostly ends by itself, when it
        lasts.
        """
        if not self._watched_state.knows(key.kind, key.namespace, key.name):
            tenant = self._watched_state.tenant_of_namespace(key.namespace)
            if tenant is not None:
                # a route that is gone leaves a document to be written, which its Tenant tells of
                self._queue.add(Key("Tenant", "", tenant))
            return
        if isinstance(error, Conflict):
            now = asyncio.get_running_loop().time()
            if now - self._conflicts.setdefault(key, now) < _LASTING_SECONDS:
                return
        if error.is_reported:
            return
        if isinstance(error, ApiServerRefused | Unavailable | Conflict):
            await self._tell(key, outcome.obstacle_of(error))
        else:
            await self._tell(key, outcome.of_a_defect(error))

    async def _tell(self, key: Key, obstacle: Obstacle) -> None:
        """Lets the object's status tell of what only the log would hold."""
        try:
            match key.kind:
                case "Tenant":
                    await self._tenants.report(key.name, obstacle)
                case "Provider":
                    await self._providers.report(key.name, obstacle)
                case "ToolServer":
                    await self._tool_servers.report(key.name, obstacle)
                case "RelayRoute":
                    await self._routes.report(key.namespace, key.name, obstacle)
        except OperatorError as error:
            # the API server takes no status either: the next try tells
            fields = {**_fields(key), "why": str(error)}
            logger.warning("status not written, will retry", extra=fields)
        except Exception:  # the entry loop, as above
            logger.exception("status not written, will retry", extra=_fields(key))

    async def _reconcile(self, key: Key) -> None:
        if key.kind == "RelayRoute" and not self._watched_state.is_our_namespace(key.namespace):
            self._routes.leave(key.namespace, key.name)
        elif key.is_of_a_tenant and not self._watched_state.is_ours(key.name):
            self._tenants.leave(key.name)
        else:
            await self._bring_about(key)

    async def _bring_about(self, key: Key) -> None:
        match key.kind:
            case "Tenant":
                await self._tenants.reconcile(key.name)
            case "Withdrawal":
                await self._tenants.withdraw(key.name)
            case "KeySecrets":
                await self._tenants.look_at_key_secrets(key.name)
            case "Provider":
                await self._providers.reconcile(key.name)
            case "ToolServer":
                await self._tool_servers.reconcile(key.name)
            case "RelayRoute":
                await self._routes.reconcile(key.namespace, key.name)
            case _:
                raise AssertionError(f"nobody reconciles {key.kind}")


def _ended_by(error: OperatorError) -> str:
    """Returns the outcome of a reconcile that did not come to its end."""
    match error:
        case Conflict():
            return "conflict"
        case Unavailable():
            return "unavailable"
        case _:
            return "refused"


def _fields(key: Key) -> dict[str, str]:
    return {"kind": key.kind, "object": _object(key)}


def _object(key: Key) -> str:
    return f"{key.namespace}/{key.name}".lstrip("/")
