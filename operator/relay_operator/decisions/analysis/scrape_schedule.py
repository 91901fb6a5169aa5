"""The schedule by which the next scrape of each relay pod can be read: most looks at Prometheus would bring nothing new."""

from collections.abc import Collection, Iterable

from relay_operator.decisions.analysis.scrapes import PodName

_REMEMBERED_SECONDS = 60.0
"""Clocks drift and Prometheus changes; how far they are apart is learned anew over this time."""


class ScrapeSchedule:
    """Knows when each pod's next scrape is due on the operator's clock.

    How long after its time a sample can be read, with both clocks' difference in it, is learned: it is no more than the least that
    was seen lately, and of a pod more than the most after which an answer had none of it yet. The next look is in the middle of the
    two, so that a schedule that began late does not stay late: ticks and scrapes that both keep their time would meet at the same
    delay for ever. An error only costs a look that finds nothing, and a pod that is late or never scraped costs none of the others.
    """

    def __init__(self, *, scrape_seconds: float) -> None:
        self._scrape_seconds = scrape_seconds
        self._newest: dict[PodName, float] = {}
        self._asked: dict[PodName, float] = {}
        self._waiting: list[PodName] = []
        self._least: list[float] = []
        self._too_early: list[dict[PodName, float]] = [{}, {}]
        self._turned_at = 0.0

    def read(self, pod: PodName, newest: float, *, at: float) -> None:
        """Notes that at this moment of the operator's clock the pod's newest scrape was read."""
        if newest <= self._newest.get(pod, 0.0):
            return
        self._newest[pod] = newest
        if not self._least:
            self._least, self._turned_at = [at - newest, at - newest], at
        elif at - self._turned_at > _REMEMBERED_SECONDS:
            self._least, self._turned_at = [at - newest, self._least[0]], at
            self._too_early = [{}, self._too_early[0]]
        else:
            self._least[0] = min(self._least[0], at - newest)

    def answered(self, *, at: float) -> None:
        """Notes that what was read is all that there was at this moment, of the pods that were asked for."""
        if not self._least:
            return
        least, newest, too_early = min(self._least), self._newest, self._too_early[0]
        for pod in self._waiting:
            waited = at - newest.get(pod, 0.0) - self._scrape_seconds
            # one that has waited for longer has missed a scrape
            if waited < least:
                too_early[pod] = max(too_early.get(pod, waited), waited)

    def ask(self, pods: Iterable[PodName], *, at: float, most: int) -> list[PodName]:
        """Returns the pods whose next scrape can be there, and notes that they are asked for.

        Of more than so many those come first that were asked for longest ago: pods that are never heard are due always.
        """
        asked = self._asked
        waiting = self._due(pods, at - self._scrape_seconds) if self._least else list(pods)
        if len(waiting) > most:
            waiting.sort(key=lambda pod: asked.get(pod, 0.0))
            waiting = waiting[:most]
        asked.update(dict.fromkeys(waiting, at))
        self._waiting = waiting
        return waiting

    def _due(self, pods: Iterable[PodName], at: float) -> list[PodName]:
        """Returns the pods whose next scrape can be there, at a moment later by the time between two scrapes than this."""
        newest, least = self._newest, min(self._least)
        # nobody is due before the middle of all that is possible
        latest = at - least + self._scrape_seconds / 2
        return [
            pod
            for pod in pods
            if (last := newest.get(pod, 0.0)) <= latest and at - last >= self._delay(pod, least)
        ]

    def _delay(self, pod: PodName, least: float) -> float:
        """Returns the delay after which it is worth while to look for a sample of a pod."""
        known = [one[pod] for one in self._too_early if pod in one]
        too_early = max(known, default=least - self._scrape_seconds)
        return (min(too_early, least) + least) / 2

    def forget(self, pod: PodName) -> None:
        """Forgets a pod, so that it is due at once."""
        for known in (self._newest, *self._too_early):
            known.pop(pod, None)

    def keep(self, pods: Collection[PodName]) -> None:
        """Forgets all pods but these, once there are more."""
        if len(self._asked) <= len(pods):
            return
        kept = set(pods)
        self._newest = {pod: newest for pod, newest in self._newest.items() if pod in kept}
        self._asked = {pod: asked for pod, asked in self._asked.items() if pod in kept}
        for known in self._too_early:
            for gone in known.keys() - kept:
                del known[gone]
