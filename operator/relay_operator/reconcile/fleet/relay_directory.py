"""Relay pods of the namespaces that a Tenant owns: by node, for a draw of neighbours, and as Prometheus is told of them.

Each change of a pod, or of whose a namespace is, costs the look at that one namespace.
"""

import random
import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection
from typing import Final, Protocol

from relay_operator.api.equal_parts import equal_names
from relay_operator.cluster.discovery.targets import Targets
from relay_operator.cluster.relays import Pod

_DRAWS: Final = 16
"""Namespaces that are looked at for a neighbour: more are looked at only in a fleet most of whose pods do not serve."""


def turn(namespace: str) -> float:
    """Returns where a namespace stands in the order in which tenants take turns, from 0 to 1; the same in every life of the operator."""
    return zlib.crc32(namespace.encode()) / 2**32


class Fleet(Protocol):
    """Reads what the watches show of all tenants."""

    def owns(self, namespace: str) -> bool: ...

    def relay_pods(self, namespace: str) -> tuple[Pod, ...]: ...


class RelayDirectory:
    """Told of a namespace by note(), it looks at it with the next question."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._unsettled: set[str] = set()
        self._hosts_of: dict[str, frozenset[str]] = {}
        self._on: dict[str, list[tuple[float, str]]] = {}
        self._drawable: list[str] = []
        self._places: dict[str, int] = {}
        self._targets = Targets()
        self.changed: Callable[[str], None] = lambda _namespace: None
        """Called with each namespace that was noted, after it was looked at."""

    def note(self, namespace: str) -> None:
        """Takes in that something of the namespace may have changed: its pods, or whose it is."""
        self._unsettled.add(namespace)

    def settle(self) -> None:
        """Looks at what was noted."""
        while self._unsettled:
            namespace = self._unsettled.pop()
            owned = self._fleet.owns(namespace)
            pods = self._fleet.relay_pods(namespace) if owned else ()
            self._note_hosts(
                namespace, equal_names(pod.host_ip for pod in pods if not pod.terminating)
            )
            (self._enter if pods else self._take_out)(namespace)
            self._targets.put(namespace, pods)
            self.changed(namespace)

    @property
    def targets(self) -> Targets:
        """Returns the groups of targets that Prometheus is told."""
        self.settle()
        return self._targets

    def namespaces(self) -> tuple[str, ...]:
        """Returns the namespaces with pods that have an address, in no order."""
        self.settle()
        return tuple(self._drawable)

    def hosts(self) -> tuple[str, ...]:
        """Returns the nodes with such a pod, by address."""
        self.settle()
        return tuple(self._on)

    def on(self, host: str) -> Collection[str]:
        """Returns the namespaces with a pod on a node, in the order of their turns."""
        self.settle()
        return tuple(namespace for _, namespace in self._on.get(host, ()))

    def next_on(self, host: str, *, after: str) -> str:
        """Returns the namespace whose turn comes after another one's on a node that has pods, and after the last the first."""
        there = self._on[host]
        return there[bisect_right(there, (turn(after), after)) % len(there)][1]

    def draw(self, count: int, *, but: str) -> list[Pod]:
        """Draws so many pods that serve, of different tenants; others each time, fewer where there are not so many."""
        self.settle()
        looked_at = random.sample(self._drawable, min(len(self._drawable), _DRAWS))
        found: list[Pod] = []
        for namespace in looked_at:
            serving = self._serving(namespace) if namespace != but else []
            if serving:
                found.append(random.choice(serving))
            if len(found) == count:
                break
        return found

    def _serving(self, namespace: str) -> list[Pod]:
        pods = self._fleet.relay_pods(namespace)
        return [pod for pod in pods if pod.ready and not pod.terminating]

    def _note_hosts(self, namespace: str, hosts: frozenset[str]) -> None:
        before = self._hosts_of.pop(namespace, frozenset())
        if hosts:
            self._hosts_of[namespace] = hosts
        place = turn(namespace), namespace
        for gone in before - hosts:
            there = self._on[gone]
            del there[bisect_left(there, place)]
            if not there:
                del self._on[gone]
        for new in hosts - before:
            insort(self._on.setdefault(new, []), place)

    def _enter(self, namespace: str) -> None:
        if namespace not in self._places:
            self._places[namespace] = len(self._drawable)
            self._drawable.append(namespace)

    def _take_out(self, namespace: str) -> None:
        place = self._places.pop(namespace, None)
        if place is None:
            return
        last = self._drawable.pop()
        if last != namespace:
            self._drawable[place] = last
            self._places[last] = place
