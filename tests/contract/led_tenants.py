"""Tenants that operators act for, each with one relay pod that stands in, and a canary that climbs."""

import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from bench.tenants.objects import ROUTE
from tests.contract.api_requests import requests_of
from tests.contract.operators import Operators
from tests.contract.referee import Referee
from tests.e2e.canaries import objects
from tests.unit.relay_operator.relay_counters import series_of_a_route

from relay.process.document_acceptance import Acceptance
from relay_contract import endpoints
from relay_contract.seal import parse_public_keys
from relay_operator import names
from relay_operator.api.relay_route import Side, fingerprint

_STEP_SECONDS: Final = 3
_LEAST_SECONDS: Final = 1.5
"""From one weight to the next: a push that comes late makes that shorter than the step, and a step that is skipped a moment."""
_PERIOD_SECONDS: Final = 1.0
_CALLS: Final = ((20, 0, 60),) * 600
"""Calls of the canary, those of them that fail, and calls of stable, from scrape to scrape."""
_NO_NODE: Final = {"requests": {"cpu": "500"}}
"""So that the Deployment's own pods never get an address."""


@dataclass(slots=True)
class LedTenant:
    """A Tenant with a name that no other test has."""

    operators: Operators
    name: str = field(default_factory=lambda: f"led-{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.operators.after_all.append(self.remove)

    @property
    def space(self) -> str:
        return names.tenant_namespace(self.name)

    def apply(self, depth: int, **labels: str) -> None:
        """Applies it with one figure that its document has."""
        spec = {
            "apiKeys": [{"name": "web"}],
            "relay": {"replicas": 1, "resources": _NO_NODE},
            "queue": {"maxDepth": depth},
        }
        manifest = objects.tenant(self.name, replicas=1)
        manifest["metadata"]["labels"] = labels
        self.operators.kubectl.apply(manifest | {"spec": spec})

    def envelope(self) -> str:
        """Reads its sealed document; empty where there is none."""
        found = self.operators.read("configmap", names.DOCUMENT_CONFIGMAP, self.space)
        return str(found.get("data", {}).get(endpoints.DOCUMENT_KEY, ""))

    def document(self) -> dict[str, Any]:
        """Reads its document; empty where there is none."""
        envelope = self.envelope()
        return dict(json.loads(json.loads(envelope)["payload"])) if envelope else {}

    def acts(self, depth: int, **labels: str) -> dict[str, Any]:
        """Checks that a change of the spec gets into the document; returns it."""
        self.apply(depth, **labels)
        return self.operators.until(
            f"a document with depth {depth}",
            self.document,
            lambda seen: bool(seen) and seen["tenant"]["queue"]["maxDepth"] == depth,
        )

    def remove(self) -> None:
        """Begins its deletion, for which no operator is needed any more; nobody waits for it, since no other test has its name."""
        patch = ("--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.operators.kubectl.attempt("patch", "tenant", self.name, *patch)
        gone = (f"tenant/{self.name}", f"namespace/{self.space}", *self._more())
        self.operators.kubectl("delete", *gone, "--ignore-not-found", "--wait=false")

    def _more(self) -> list[str]:
        """Returns what else is to go with it."""
        return []


@dataclass(slots=True)
class Climbing(LedTenant):
    """A Tenant whose relay pod stands in at an address, with two Providers of its own."""

    referee: Referee = field(kw_only=True)
    address: str = field(kw_only=True)

    @property
    def _sides(self) -> tuple[str, str]:
        return f"{self.name}-stable", f"{self.name}-canary"

    def begin(self, depth: int, **labels: str) -> None:
        """Creates the Tenant and its Providers, and its pod once there is a document."""
        kubectl = self.operators.kubectl
        for name in self._sides:
            spec = {
                "endpoint": {"url": f"https://{name}.example.com/v1"},
                "auth": {"secretName": objects.secret_name(name)},
            }
            provider = objects.provider(name, 1) | {"spec": spec}
            kubectl.apply(objects.secret(name, self.operators.namespace), provider)
        self.acts(depth, **labels)
        self.referee.begin_pod(self.address, self._acceptance())
        self.operators.until(
            # its quota is counted a moment after it was made
            "a pod",
            lambda: requests_of(kubectl).create(self._pod()).refusal,
            lambda refused: not refused or "already exists" in refused,
        )
        status = json.dumps({"status": self._running()})
        where = (names.RELAY, "-n", self.space, "--subresource=status", "--type=merge")
        kubectl("patch", "pod", *where, "-p", status)
        self.pod_has(depth)

    def pod_has(self, depth: int) -> None:
        """Waits until a change of the spec is in the pod."""
        self.operators.until(
            f"depth {depth} in the pod",
            lambda: self.referee.depth(self.address),
            lambda seen: seen == depth,
        )

    def climb(self, *, step_percent: int) -> None:
        """Begins a canary that goes well, and that rises by a step every few seconds."""
        stable, canary = self._sides
        progression = {
            "stepPercent": step_percent,
            "every": f"{_STEP_SECONDS}s",
            "minRequests": 1,
        }
        spec = {
            "match": {"models": ["gpt-4.1"]},
            "stable": {"provider": stable},
            "canary": {"provider": canary, "percent": 100, "progression": progression},
            "analysis": {"minRequests": 10, "errorRate": {"maxPercent": 10}},
        }
        prints = [
            fingerprint(Side(provider=name), provider_uid=self._uid(name)) for name in self._sides
        ]
        target = {
            "namespace": self.space,
            "pod": names.RELAY,
            "phase": 0.0,
            "routes": [(ROUTE, *prints)],
        }
        self.referee.set_up(
            {
                "period": _PERIOD_SECONDS,
                "story": _CALLS,
                "templates": series_of_a_route(),
                "targets": [target],
            }
        )
        self.referee.begin([(self.space, ROUTE)], scrapes_ahead=0, proof=None)
        self.operators.kubectl.apply(objects.route(ROUTE, self.space, spec))

    @property
    def weight(self) -> int:
        """The canary's weight in the pod."""
        return next((weight for weight, _ in reversed(self._weights())), 0)

    def reaches(self, percent: int) -> None:
        """Waits until the canary has this weight in the pod, or more."""
        self.operators.until(f"{percent} %", lambda: self.weight, lambda seen: seen >= percent)

    def is_promoted(self) -> None:
        """Waits for the end of the climb."""
        self.operators.until(
            "the end of the climb",
            lambda: [reason for reason, _ in self._moves()],
            lambda seen: names.Reason.PROMOTED in seen,
        )

    def has_climbed_by_its_steps(self, step_percent: int) -> None:
        """Checks that it took each step once, none at once after the one before, and that each move is told once."""
        weights = self._weights()
        expected = [min(step_percent * number, 100) for number in range(1, len(weights) + 1)]
        assert [weight for weight, _ in weights] == expected
        apart = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(weights)]
        assert min(apart) > _LEAST_SECONDS, apart
        raised = {weight for weight, _ in weights[1:]}
        moves = self.operators.until(
            "all Events of its moves",
            self._events,
            lambda seen: set(self._moves()) <= seen.keys() and _steps(seen) >= raised,
        )
        assert set(moves.values()) == {1}, moves
        assert len(self._moves()) == len(set(self._moves()))
        assert sum(reason == names.Reason.STEP_PASSED for reason, _ in moves) == len(_steps(moves))

    def is_stored_as_in_force(self) -> None:
        """Waits until the document that is stored is the one that the pod has in force."""
        self.operators.until(
            "the document in force to be stored",
            lambda: (self.envelope(), self.referee.in_force(self.address).decode()),
            lambda seen: seen[0] == seen[1],
        )

    def _more(self) -> list[str]:
        return [f"provider/{name}" for name in self._sides]

    def _acceptance(self) -> Acceptance:
        """Returns the judgement of a relay that is started as the Deployment says."""
        found = self.operators.until(
            "its Deployment",
            lambda: self.operators.read("deployment", names.RELAY, self.space),
            bool,
        )
        [container] = found["spec"]["template"]["spec"]["containers"]
        told = {one["name"]: one.get("value", "") for one in container["env"]}
        keys = parse_public_keys(told[endpoints.ENV_DOCUMENT_PUBLIC_KEYS])
        return Acceptance(keys, told[endpoints.ENV_TENANT_UID])

    def _weights(self) -> list[tuple[int, float]]:
        return self.referee.weights(self.address, ROUTE)

    def _moves(self) -> list[tuple[str, str]]:
        """Reads reason and message of the last moves."""
        found = self.operators.read("relayroute", ROUTE, self.space)
        history = found.get("status", {}).get("history", ())
        return [(one["reason"], one["message"]) for one in history]

    def _events(self) -> Counter[tuple[str, str]]:
        """Reads all that was told of moves, also of those that status does not hold any more."""
        listed = self.operators.kubectl.json("get", "events.events.k8s.io", "-n", self.space)
        moves = (one for one in listed["items"] if one.get("action") == "Move")
        return Counter((one["reason"], one["note"]) for one in moves)

    def _uid(self, provider: str) -> str:
        found = self.operators.kubectl.json("get", "providers.relay-operator.dev", provider)
        return str(found["metadata"]["uid"])

    def _pod(self) -> dict[str, Any]:
        """Returns a pod that no node ever gets."""
        amounts = {"cpu": "1m", "memory": "1Mi"}
        container = {
            "name": names.RELAY,
            "image": "none",
            "resources": {"requests": amounts, "limits": amounts},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": names.RELAY,
                "namespace": self.space,
                "labels": names.standard_labels(self.name),
            },
            "spec": {
                "serviceAccountName": names.RELAY,
                "automountServiceAccountToken": False,
                "schedulingGates": [{"name": "tests.relay-operator.dev/stands-in"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
            },
        }

    def _running(self) -> dict[str, Any]:
        container = {
            "name": names.RELAY,
            "image": "none",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
        }
        return {
            "phase": "Running",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container],
        }


def _steps(moves: Iterable[tuple[str, str]]) -> set[int]:
    """Returns where each step that was told of has led; also of one that an operator had not told before another one went on."""
    led_to = re.compile(r"raised from \d+ to (\d+) %|at (\d+) % as the relays already serve")
    found = (led_to.search(note) for reason, note in moves if reason == names.Reason.STEP_PASSED)
    return {int(match[1] or match[2]) for match in found if match is not None}
