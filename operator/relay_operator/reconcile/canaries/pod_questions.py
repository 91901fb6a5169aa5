"""Asks the relay pods of some tenants one question each that a pod answers once it has news: no scrape and no tick between.

A tenant can run anything behind a pod's address. Each pod is asked in a task of its own, at a bounded pace, and so are no
more than a bounded number of pods of a tenant; what one tells counts for its own tenant alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from relay_operator.cluster.relays import Pod
from relay_operator.errors import Unavailable
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_WAIT_SECONDS: Final = 15
"""The time for which a pod holds its answer back while nothing changes."""
_PAUSE_SECONDS: Final = 0.25
"""Between two questions to one pod, however fast it answers."""
_UNFOLLOWED_SECONDS: Final = 60.0
"""Between two questions to a pod of which one answer is enough."""
_BYTES_PER_SECOND: Final = 64 * 1024
"""Of one pod: reading costs the time of all tenants, so after a large answer the pause is longer."""
_PAUSE_WITHOUT_ANSWER_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_MOST_PODS_OF_A_TENANT: Final = 64


class Tagged(Protocol):
    """An answer; its tag names what it tells, and size is how many bytes it had."""

    @property
    def tag(self) -> str: ...

    @property
    def size(self) -> int: ...


Answer = TypeVar("Answer", bound=Tagged)
Given = TypeVar("Given", covariant=True)


class Ask(Protocol[Given]):
    """Puts the question to a pod; raises Unavailable where it does not answer as a relay does."""

    def __call__(self, pod: Pod, *, seen: str, wait_seconds: int) -> Awaitable[Given]: ...


class PodQuestions(Generic[Answer]):
    """Keeps the last answer of each pod that serves and is being asked.

    answered is called with the namespace of a pod after each of its answers; noun names what is asked for in the log. is_followed
    tells of a namespace whether its pods are asked for news as soon as they have answered, or only after a while.
    """

    def __init__(
        self,
        *,
        noun: str,
        ask: Ask[Answer],
        answered: Callable[[str], None],
        watched_state: WatchedState,
        is_followed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._noun = noun
        self._is_followed = is_followed
        self._question = ask
        self._answered = answered
        self._watched_state = watched_state
        self._told: dict[str, Answer] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def ask_in(self, namespaces: Iterable[str]) -> None:
        """Asks the serving pods of these tenants from now on, and no others."""
        pods: dict[str, Pod] = {}
        for namespace in namespaces:
            if self._watched_state.owns(namespace):
                serving = self.serving(namespace)[:_MOST_PODS_OF_A_TENANT]
                pods |= {pod.uid: pod for pod in serving}
        for gone in self._asking.keys() - pods.keys():
            self._asking.pop(gone).cancel()
            self._told.pop(gone, None)
        for new in pods.keys() - self._asking.keys():
            self._asking[new] = asyncio.create_task(self._ask(pods[new]))

    def serving(self, namespace: str) -> list[Pod]:
        """Returns the tenant's pods that serve calls."""
        pods = self._watched_state.relay_pods(namespace)
        return [pod for pod in pods if pod.ready and not pod.terminating]

    def answers(self, pods: Iterable[Pod]) -> list[Answer]:
        """Returns what those of the pods told last that have told anything."""
        return [self._told[pod.uid] for pod in pods if pod.uid in self._told]

    async def _ask(self, pod: Pod) -> None:
        pause = _PAUSE_SECONDS
        while True:
            told = await self._answer(pod)
            if told is None:
                self._told.pop(pod.uid, None)
                pause = max(2 * pause, _PAUSE_WITHOUT_ANSWER_SECONDS)
                pause = min(pause, _LONGEST_PAUSE_SECONDS)
            else:
                usual = _PAUSE_SECONDS if self._is_followed(pod.namespace) else _UNFOLLOWED_SECONDS
                pause = max(usual, told.size / _BYTES_PER_SECOND)
            await asyncio.sleep(pause)

    async def _answer(self, pod: Pod) -> Answer | None:
        """Puts the question once and takes in the answer; returns it, or None where there was none to take in."""
        seen = self._told.get(pod.uid)
        tag = seen.tag if seen else ""
        try:
            told = await self._question(pod, seen=tag, wait_seconds=_WAIT_SECONDS)
            self._told[pod.uid] = told
            self._answered(pod.namespace)
        except Unavailable as error:
            # a relay of an older version does not know the path, so this is no news
            logger.debug("%s not heard of", self._noun, extra={"why": str(error)})
            return None
        except Exception:  # whatever one pod tells, it is asked again
            logger.exception("question about %s failed, will retry", self._noun)
            return None
        return told
