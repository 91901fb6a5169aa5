"""The pushes to one tenant's relay pods: one in flight a pod, whoever wants it, and a pause after one that failed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

from relay_operator.cluster.relays import Pod

logger = logging.getLogger(__name__)

Push = Callable[[Pod], Coroutine[None, None, bool]]
"""Pushes to a pod; tells whether that succeeded."""

_MOST_IN_FLIGHT = 32
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0
_LATE_SECONDS = 0.25
"""Nobody waits longer for a push."""


@dataclass(slots=True)
class _Course:
    """Record of the pushes to one form of a pod. started and resumes are times of the event loop; has_ended tells of any so far."""

    pod: Pod
    failures: int = 0
    resumes: float = 0.0
    started: float = 0.0
    has_ended: bool = False
    task: asyncio.Task[bool] | None = None


def _nobody(_: float | None) -> None:
    """Hears of the end of a push where nobody else does."""


class PodPushes:
    """One a tenant, so that neither its slow pods nor their number costs anybody else more than memory.

    ended is called after a push with the time at which it may be repeated, if it failed, and None if it succeeded late: after one
    that failed, or after everybody had stopped to wait for it.
    """

    def __init__(self, ended: Callable[[float | None], None] = _nobody) -> None:
        self._ended = ended
        self._courses: dict[str, _Course] = {}
        self._places = asyncio.Semaphore(_MOST_IN_FLIGHT)

    async def wait_for(self, pods: Iterable[Pod], push: Push, *, patience_seconds: float) -> None:
        """Joins the push in flight to each of the pods, or starts one; waits until they end, or have run that long.

        A pod that failed is left out until its pause is over, or until the watch shows a change of it.
        """
        loop = asyncio.get_running_loop()
        running = [course for pod in pods if (course := self._running(pod, push)) is not None]
        if not running:
            return
        wait = max(course.started for course in running) + patience_seconds - loop.time()
        tasks = [course.task for course in running if course.task is not None]
        done, _ = await asyncio.wait(tasks, timeout=max(wait, 0.0))
        for task in done:
            task.result()

    def start(self, pods: Iterable[Pod], push: Push) -> None:
        """Starts a push to each of the pods that none is in flight to; as wait_for, which waits."""
        for pod in pods:
            self._running(pod, push)

    def await_first(self, pods: Iterable[Pod]) -> bool:
        """Tells whether no push to one of the pods has ended yet, whether well or not."""
        courses = map(self._courses.get, (pod.uid for pod in pods))
        return any(course is None or not course.has_ended for course in courses)

    def _running(self, pod: Pod, push: Push) -> _Course | None:
        now = asyncio.get_running_loop().time()
        course = self._courses.get(pod.uid)
        if course is None:
            course = self._courses[pod.uid] = _Course(pod)
        if course.task is not None:
            return course
        if course.pod != pod:
            course.pod, course.failures, course.resumes = pod, 0, 0.0
        if now < course.resumes:
            return None
        course.started = now
        course.task = asyncio.create_task(self._push(course, push))
        course.task.add_done_callback(_log_error)
        return course

    async def _push(self, course: _Course, push: Push) -> bool:
        succeeded = False
        try:
            async with self._places:
                succeeded = await push(course.pod)
        finally:
            course.task, course.has_ended = None, True
            now = asyncio.get_running_loop().time()
            if succeeded:
                is_late = course.failures or now - course.started > _LATE_SECONDS
                course.failures, course.resumes = 0, 0.0
                if is_late:
                    self._ended(None)
            else:
                pause = min(_FIRST_PAUSE_SECONDS * 2**course.failures, _LONGEST_PAUSE_SECONDS)
                course.failures = min(course.failures + 1, 16)
                course.resumes = now + pause
                self._ended(course.resumes)
        return succeeded

    def forget_all_but(self, pods: Iterable[Pod]) -> None:
        """Drops what is known of pods that are gone."""
        for gone in self._courses.keys() - {pod.uid for pod in pods}:
            del self._courses[gone]


def _log_error(task: asyncio.Task[bool]) -> None:
    """Logs a bug of ours; perhaps nobody waits for the task any more."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, Exception):
        logger.error("push ended unexpectedly, will retry", exc_info=error)
