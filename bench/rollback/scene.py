"""The cluster of the bench and what is done in it: canaries brought up, turned bad, and brought back."""

import contextlib
import json
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.rollback import objects, story
from bench.rollback.witness import CONTROL_PORT
from tests.cluster.session.clients import Client, port_forward
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.unit.relay_operator.relay_counters import series_of_a_route

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.relay_route import Side, fingerprint
from relay_operator.decisions.canary.stays import FORCE

PERIOD_SECONDS: Final = 1.11
"""Between two scrapes of a pod. No multiple of the operator's tick of 0.5 s: the runs meet every moment between two ticks."""
READY_SECONDS: Final = 300.0
ENDED_SECONDS: Final = 60.0
ASKED_SECONDS: Final = 30.0

Routes = Mapping[int, Sequence[str]]
"""Names of routes by the number of relay pods of their tenant."""


@dataclass(frozen=True, slots=True)
class Run:
    """One rollback, in seconds from the moment at which its breach was visible.

    asked is when the operator was first told of it, arrived when each relay pod had the route at 0 %; missing counts the
    pods that did not get there.
    """

    pods: int
    route: str
    asked: float | None
    arrived: Mapping[str, float]
    missing: int

    @property
    def seconds(self) -> float:
        """Returns when the last pod had it."""
        return max(self.arrived.values())

    @property
    def problem(self) -> str:
        """Says why the run is no measurement; nothing if it is one."""
        if self.missing:
            return f"{self.missing} of {self.pods} relay pods still send calls to the canary"
        if min(self.arrived.values()) < 0:
            return "the canary lost its calls before its breach was visible"
        return ""


class Scene:
    """The installed cluster. port is the witness's control port."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self._cluster, self._port = cluster, port
        self._proof, *_ = story.proving_step(PERIOD_SECONDS)
        self._fingerprints = [self._fingerprint(name) for name in (objects.STABLE, objects.CANARY)]

    def bring_up(self, routes: Routes) -> None:
        """Creates the routes, or brings those back that were rolled back, and waits until the canaries have their calls."""
        wanted = []
        for pods, listed in routes.items():
            found = self._settled(pods)
            wanted += [objects.route(name, pods, retry=_retry(found.get(name))) for name in listed]
        self._cluster.kubectl("apply", "-f", "-", stdin=objects.listed(wanted))
        for pods, listed in routes.items():
            self._wait_for_weights(pods, listed)

    def turn_bad(self, routes: Routes, *, scrapes_apart: int) -> list[Run]:
        """Lets canaries turn bad, one so many scrapes after the other (0: all at once); returns how it went."""
        self._tell("/setup", self._setup(routes))
        begun = [
            # two scrapes without calls first: what a run counts from
            (objects.namespace(pods), name, 2 + index * scrapes_apart)
            for pods, listed in routes.items()
            for index, name in enumerate(listed)
        ]
        self._tell("/begin", begun)
        scrapes = max(ahead for *_, ahead in begun) + self._proof
        told = wait_until(
            "the rollbacks",
            lambda: self._tell("/runs", None),
            lambda seen: not seen["open"],
            seconds=scrapes * PERIOD_SECONDS + ENDED_SECONDS,
            every=1.0,
        )
        number = {objects.namespace(pods): pods for pods in routes}
        return [
            Run(
                pods=number[one["namespace"]],
                route=one["route"],
                asked=one["asked"],
                arrived=one["arrived"],
                missing=one["missing"],
            )
            for one in told["runs"]
        ]

    def _statuses(self, pods: int) -> dict[str, Any]:
        found = self._cluster.get("relayroutes", "-n", objects.namespace(pods))["items"]
        return {one["metadata"]["name"]: one.get("status", {}) for one in found}

    def _settled(self, pods: int) -> dict[str, Any]:
        """Returns the statuses once each tells that its canary has no calls: a status is written after the weight."""
        return wait_until(
            f"the statuses of {objects.tenant(pods)}",
            lambda: self._statuses(pods),
            lambda seen: all(_weight(status) == 0 for status in seen.values()),
            seconds=READY_SECONDS,
            every=0.5,
        )

    def _wait_for_weights(self, pods: int, listed: Sequence[str]) -> None:
        def late() -> list[str]:
            found = self._statuses(pods)
            return [name for name in listed if _weight(found.get(name, {})) != objects.PERCENT]

        wait_until(
            f"the canaries of {objects.tenant(pods)} to have {objects.PERCENT} %",
            late,
            lambda names_of_late: not names_of_late,
            seconds=READY_SECONDS,
            every=1.0,
        )

    def _setup(self, routes: Routes) -> dict[str, Any]:
        return {
            "period": PERIOD_SECONDS,
            "proof": self._proof,
            "story": story.STORY.steps,
            "templates": series_of_a_route(),
            "targets": [
                target for pods, listed in routes.items() for target in self._targets(pods, listed)
            ],
        }

    def _targets(self, pods: int, listed: Sequence[str]) -> list[dict[str, Any]]:
        space = objects.namespace(pods)
        found = self._cluster.get("pods", "-n", space)["items"]
        running = [one for one in found if "deletionTimestamp" not in one["metadata"]]
        if len(running) != pods:
            raise DemoFailed(f"{space} has {len(running)} pods, not {pods}")
        envelope = self._cluster.get("configmap", names.DOCUMENT_CONFIGMAP, "-n", space)["data"]
        return [
            {
                "namespace": space,
                "pod": pod["metadata"]["name"],
                "address": pod["status"]["podIP"],
                "port": endpoints.ADMIN_PORT,
                # those with the calls are scraped at the same moments, the others at other ones
                "phase": index * 0.6180339887 % 1 * PERIOD_SECONDS,
                "tells": index == 0,
                "routes": [(name, *self._fingerprints) for name in listed],
                "envelope": envelope[endpoints.DOCUMENT_KEY],
            }
            for index, pod in enumerate(running)
        ]

    def _fingerprint(self, provider: str) -> str:
        found = self._cluster.get("providers.relay-operator.dev", provider)
        return fingerprint(Side(provider=provider), provider_uid=found["metadata"]["uid"])

    def _tell(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            method="GET" if body is None else "PUT",
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=ASKED_SECONDS) as answer:
            return json.load(answer)


def _retry(status: Mapping[str, Any] | None) -> str:
    """Returns the annotation that brings a canary back at once; nothing for a new route."""
    return f"{status['canaryFingerprint']}/{status['run']}{FORCE}" if status else ""


def _weight(status: Mapping[str, Any]) -> int:
    return int(status.get("weights", {}).get("canaryPercent", 0))


@contextlib.contextmanager
def installed(cluster: Cluster, pods: Sequence[int]) -> Iterator[Scene]:
    """Installs the chart, the providers, the witness and a tenant for each number of relay pods."""
    cluster.kubectl("apply", "-f", "-", stdin=objects.listed(objects.base()))
    stage.install_chart(
        cluster, dns_cidrs=stage.dns_server_cidrs(cluster), prometheus_url=objects.WITNESS_URL
    )
    tenants = [objects.made_tenant(number) for number in pods]
    cluster.kubectl("apply", "-f", "-", stdin=objects.listed([*objects.providers(), *tenants]))
    for name, space in (("fleet", "providers"), (objects.WITNESS, objects.NAMESPACE)):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", space, "--timeout=90s")
    named = [f"tenant/{objects.tenant(number)}" for number in pods]
    cluster.kubectl("wait", *named, "--for=condition=Ready", "--timeout=115s")
    for number in pods:
        _wait_for_pods(cluster, number)
    with tempfile.TemporaryDirectory() as home:
        client = Client(cluster.kubectl_path, cluster.kubeconfig, Path(home))
        service = f"service/{objects.WITNESS}"
        with port_forward(client, service, CONTROL_PORT, namespace=objects.NAMESPACE) as port:
            yield Scene(cluster, port)


def _wait_for_pods(cluster: Cluster, number: int) -> None:
    """Waits until all pods of a tenant serve: Ready of a Tenant may come with the first."""
    wait_until(
        f"{number} relay pods of {objects.tenant(number)}",
        lambda: [
            _is_ready(one) for one in cluster.get("pods", "-n", objects.namespace(number))["items"]
        ],
        lambda seen: seen == [True] * number,
        seconds=READY_SECONDS,
        every=1.0,
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
