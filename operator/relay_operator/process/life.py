"""One life of the operator: it watches from the beginning, acts once it leads, and ends when it is told to or has lost the
lead. The next life of the process begins with nothing of what this one knew.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import kopf

from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.http_endpoint import OperatorEndpoint
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.handlers import listing, watches
from relay_operator.handlers.context import Context
from relay_operator.handlers.kopf_settings import configure
from relay_operator.handlers.login import Login
from relay_operator.handlers.lost_deletions import LostDeletions
from relay_operator.process.beginning import Beginning
from relay_operator.process.hearing import Hearing
from relay_operator.reconcile.work_queue import Urgency
from relay_operator.reconcile.workers import SPARE, Workers
from relay_operator.settings import Settings

logger = logging.getLogger(__name__)

_URGENT_WORKERS = 2
_WITHDRAWING_WORKERS = 8
"""Beside the others: however many reconciles are slow, two wait for nothing but rollbacks and suspensions."""
_FINISH_SECONDS = 5.0
"""For reconciles under way when the operator is told to end."""

WATCHED = frozenset(resource.plural for resource in watches.watched())
"""What kopf watches, by plural."""

Runs = Mapping[str, Coroutine[Any, Any, None]]


class Life:
    """Runs until stop is set, the lead is lost, or one of its parts ends, whose error is raised.

    acting are the tasks of a leader, standing those of a standby too; confirm is asked before the leader begins, and False
    ends this life.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        api: ApiServer,
        traffic: ApiTraffic,
        context: Context,
        lost: LostDeletions,
        workers: Workers,
        elector: Elector,
        electing: asyncio.Task[None],
        stop: asyncio.Event,
        confirm: Callable[[], Awaitable[bool]],
    ) -> None:
        self._settings = settings
        self._traffic = traffic
        self._context = context
        self._workers = workers
        self._elector = elector
        self._stop = stop
        self._beginning = Beginning(
            api=api,
            context=context,
            lost=lost,
            is_listing=traffic.watch_ages.unopened,
            confirm=confirm,
        )
        self._hearing = Hearing(api=api, traffic=traffic, watched_state=context.watched_state)
        self._over, self._end_watching = asyncio.Event(), asyncio.Event()
        self._tasks = [electing]

    async def run(self, acting: Runs, standing: Runs) -> None:
        """Lives. Its tasks start before kopf, which cancels every task that started after it."""
        self._traffic.watch_ages.begin(WATCHED, now=self._traffic.now())
        self._start(
            {**standing, "beginning": self._beginning.watch(), "hearing": self._hearing.run()}
        )
        leading = self._task(self._lead(acting), "lead")
        endpoint = OperatorEndpoint(
            targets=lambda: self._context.watched_state.directory.targets,
            ailment=self._ailment,
            ready=self._beginning.shown,
            port=self._settings.port,
        )
        await endpoint.start()
        watching = asyncio.create_task(self._watch(), name="watches")
        ends = [
            asyncio.create_task(one, name=name)
            for name, one in {
                "told to end": _set(self._stop),
                "lead lost": _set(self._elector.lost),
                "over": _set(self._over),
                "failed": _first_failure(self._tasks),
            }.items()
        ]
        try:
            done, _ = await asyncio.wait([watching, *ends], return_when=asyncio.FIRST_COMPLETED)
            if watching in done and self._are_watches_to_begin_anew(watching):
                done.discard(watching)
            if self._stop.is_set():
                await self._workers.finish(_FINISH_SECONDS)
            await self._elector.end()
        finally:
            self._end_watching.set()
            await _cancel([leading, *self._tasks, *ends])
            await asyncio.gather(watching, return_exceptions=True)
            await endpoint.stop()
        for task in done:
            task.result()

    def _are_watches_to_begin_anew(self, watching: asyncio.Task[None]) -> bool:
        """Tells whether the watches failed that had shown what there is: another life lists everything once more.

        Those that never did are the process' end, whose log and restarts tell of what is wrong from the beginning.
        """
        error = watching.exception()
        if error is None:
            # by a signal that came before the handlers were ours again
            self._stop.set()
            return False
        if not self._beginning.shown.is_set():
            return False
        logger.warning("watches failed, all begin anew", extra={"why": str(error)})
        return True

    def _ailment(self) -> str:
        """Says what only another process mends."""
        if deaf_to := self._hearing.deaf_to():
            return f"the watch of {deaf_to} does not show what the API server has"
        return _stopped(self._tasks) or self._workers.stuck()

    def _start(self, runs: Runs) -> None:
        for name, run in runs.items():
            self._task(run, name)

    def _task(self, run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(run, name=name)
        self._tasks.append(task)
        return task

    async def _lead(self, acting: Runs) -> None:
        """Waits for the lead, and for the watches to show the cluster as the last leader left it; then acts."""
        begun = False
        try:
            await self._elector.won.wait()
            if not await self._beginning.may_act():
                self._over.set()
                return
            begun = True
        finally:
            if not begun:
                for run in acting.values():
                    run.close()
        listing.look_at_first(self._context)
        self._context.queue.begin()
        workers = {
            f"worker-{n}": self._workers.run() for n in range(self._settings.workers + SPARE)
        }
        workers |= {
            f"urgent-worker-{n}": self._workers.run(Urgency.URGENT) for n in range(_URGENT_WORKERS)
        }
        workers |= {
            f"withdrawing-worker-{n}": self._workers.run(Urgency.IMMEDIATE)
            for n in range(_WITHDRAWING_WORKERS)
        }
        tasks = [asyncio.create_task(run, name=name) for name, run in {**workers, **acting}.items()]
        try:
            await _first_failure(tasks)
        finally:
            await _cancel(tasks)

    async def _watch(self) -> None:
        registry = kopf.OperatorRegistry()
        Login(self._traffic).register(registry)
        settings = kopf.OperatorSettings()
        configure(settings)
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=self._end_watching,
            # in the place of what hands each event to kopf's own handlers, with its logins
            _command=follow_all(watches.watched(), settings=settings, context=self._context),
        )
        # kopf took the signals, and would end its watches first: the lead is given back before them
        obey(self._stop)
        await kopf.run_tasks(tasks, ignored=ours)


async def follow_all(
    watched: Mapping[kopf.Resource, watches.Handler],
    *,
    settings: kopf.OperatorSettings,
    context: Context,
) -> None:
    """Follows everything that is watched until cancelled; raises when one of the watches fails for good."""
    tasks = [
        asyncio.create_task(
            watches.follow(resource, seen, settings=settings, context=context),
            name=f"watch of {resource.plural}",
        )
        for resource, seen in watched.items()
    ]
    try:
        await _first_failure(tasks)
    finally:
        await _cancel(tasks)


def obey(stop: asyncio.Event) -> None:
    """Lets SIGTERM and SIGINT set the event."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stopped(tasks: list[asyncio.Task[None]]) -> str:
    ended = next((task.get_name() for task in tasks if task.done()), "")
    return f"the task {ended} of the operator has stopped" if ended else ""


async def _first_failure(tasks: list[asyncio.Task[None]]) -> None:
    """Raises the error of the first task that ends: without one of its parts the process is better restarted."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
