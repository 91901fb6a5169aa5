"""Follows every RelayRoute through a watch, so that no change of a status between two looks is missed."""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.demo.commands import Cluster


@dataclass(frozen=True, slots=True)
class Seen:
    """A state of a route's status. at is in monotonic seconds."""

    at: float
    phase: str
    weight: int


@dataclass(frozen=True, slots=True)
class Move:
    """A decision of a route's history, and the weight of the canary after it."""

    reason: str
    percent: int | None


class Timeline:
    """The latest object of each route, every phase and weight that it was seen in, and every decision that it told of."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], list[Seen]] = defaultdict(list)
        self._moves: dict[tuple[str, str], dict[tuple[str, str, int | None], float]] = defaultdict(
            dict
        )
        self._lock = threading.Lock()

    def route(self, namespace: str, name: str) -> dict[str, Any]:
        """Returns the route's latest object; empty before there is one."""
        with self._lock:
            return self._objects.get((namespace, name), {})

    def seen(self, namespace: str, name: str, *, since: float = 0.0) -> list[Seen]:
        """Returns the states that the route went through since then, without repetitions."""
        with self._lock:
            return [one for one in self._seen[namespace, name] if one.at >= since]

    def moves(self, namespace: str, name: str, *, since: float = 0.0) -> list[Move]:
        """Returns the decisions that the route's history has told of since then, in their order; the history itself keeps the latest.

        A weight that was in force for a moment need not be seen, since what follows within a moment is told with it.
        """
        with self._lock:
            told = self._moves[namespace, name].items()
            return [Move(reason, percent) for (_, reason, percent), at in told if at >= since]

    def take(self, kind: str, route: dict[str, Any]) -> None:
        """Takes in one event of the watch."""
        key = (route["metadata"]["namespace"], route["metadata"]["name"])
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(key, None)
                return
            self._objects[key] = route
            status = route.get("status", {})
            weight = status.get("weights", {}).get("canaryPercent", 0)
            state = Seen(time.monotonic(), status.get("phase", ""), weight)
            for one in status.get("history", ()):
                move = (one["at"], one["reason"], one.get("canaryPercent"))
                # what a route brings with it was decided before it was followed
                self._moves[key].setdefault(move, 0.0 if kind == "ADDED" else state.at)
            seen = self._seen[key]
            if not seen or (seen[-1].phase, seen[-1].weight) != (state.phase, state.weight):
                seen.append(state)


@contextlib.contextmanager
def followed(cluster: Cluster) -> Iterator[Timeline]:
    """Follows the routes of all namespaces until the end of the block."""
    timeline = Timeline()
    command = [str(cluster.kubectl_path), "get", "relayroutes", "-A", "--watch"]
    process = subprocess.Popen(
        [*command, "-o", "json", "--output-watch-events"],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    reader = threading.Thread(target=_read, args=(process, timeline), daemon=True)
    reader.start()
    try:
        yield timeline
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], timeline: Timeline) -> None:
    assert process.stdout is not None
    whole, text = json.JSONDecoder(), ""
    with process.stdout:
        for line in process.stdout:
            text += line
            try:
                event, _ = whole.raw_decode(text)
            except ValueError:
                # some versions of kubectl spread an object over many lines
                continue
            timeline.take(event["type"], event["object"])
            text = ""
