"""Target groups as Prometheus' HTTP service discovery reads them, kept ready: an answer costs the time to send it."""

import json
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from relay_contract import endpoints
from relay_operator import names
from relay_operator.cluster.relays import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """A list of targets; label is the value by which relabelling tells its targets from those of the other."""

    path: str
    label: str


ALL: Final = Scrape(path=endpoints.METRICS_PATH, label="all")
SLO: Final = Scrape(path=endpoints.SLO_METRICS_PATH, label="slo")


def targets(pods: Iterable[Pod], scrape: Scrape) -> list[dict[str, Any]]:
    """Returns one target group a pod, since each has its own labels; in the order of the pods' names."""
    return [
        {
            "targets": [pod.admin_address],
            "labels": {
                "__metrics_path__": scrape.path,
                "namespace": pod.namespace,
                "pod": pod.name,
                "pod_uid": pod.uid,
                "tenant": pod.namespace.removeprefix(names.NAMESPACE_PREFIX),
                "relay_operator_scrape": scrape.label,
            },
        }
        for pod in sorted(pods, key=lambda pod: pod.name)
    ]


class Targets:
    """Every namespace's part of the answers, written once for each change of its pods."""

    def __init__(self) -> None:
        self._namespaces: list[str] = []
        self._parts: dict[str, dict[Scrape, bytes]] = {}
        self._answers: dict[Scrape, bytes] = {}

    def put(self, namespace: str, pods: Iterable[Pod]) -> None:
        """Takes in the pods that a namespace has now."""
        known = tuple(pods)
        if not known:
            self._drop(namespace)
            return
        if namespace not in self._parts:
            insort(self._namespaces, namespace)
        self._parts[namespace] = {
            scrape: json.dumps(targets(known, scrape))[1:-1].encode() for scrape in (ALL, SLO)
        }
        self._answers.clear()

    def answer(self, scrape: Scrape) -> bytes:
        """Returns the whole list, in JSON."""
        known = self._answers.get(scrape)
        if known is None:
            parts = (self._parts[namespace][scrape] for namespace in self._namespaces)
            known = self._answers[scrape] = b"[" + b", ".join(parts) + b"]"
        return known

    def _drop(self, namespace: str) -> None:
        if self._parts.pop(namespace, None) is not None:
            del self._namespaces[bisect_left(self._namespaces, namespace)]
            self._answers.clear()
