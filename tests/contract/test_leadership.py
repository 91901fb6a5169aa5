"""Two operator processes on a real API server: one acts, and another one goes on when it is killed, ended, stopped or its
Lease deleted. The referees are the Lease and the versions of everything that they write.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.blackbox.process import free_ports
from tests.cluster.session.clients import Client
from tests.growing_files import whole_text

from relay_operator import names
from relay_operator.decisions.leadership import lease as leases

Seen = TypeVar("Seen")

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""Seconds are usual; a busy machine takes its time."""
TENANT = "led"
LEASE = ("lease", names.LEADER_LEASE)


@dataclass(slots=True)
class Operator:
    """One process from the sources, on a port of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Waits for its end; returns its exit code."""
        return self.process.wait(SECONDS)

    def output(self) -> str:
        """Returns what it logged."""
        return whole_text(self.log)


@dataclass(slots=True)
class Scene:
    """A namespace, and the operators that run in it."""

    kubectl: Client
    namespace: str
    directory: Path
    operators: dict[str, Operator] = field(default_factory=dict)

    def start(self) -> Operator:
        """Starts another operator."""
        name = f"operator-{len(self.operators)}"
        log = self.directory / f"{name}.log"
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubectl.kubeconfig),
            "PYTHONPATH": f"{ROOT / 'operator'}",
            "OPERATOR_NAMESPACE": self.namespace,
            "OPERATOR_PORT": str(free_ports(1)[0]),
            "OPERATOR_LOG_FORMAT": "text",
            "HOSTNAME": name,
        }
        # a name of its own in the Lease, as a pod has one
        code = f"import socket; socket.gethostname = lambda: {name!r}; from relay_operator.main import main; main()"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code], env=environment, stdout=file, stderr=file
            )
        started = self.operators[name] = Operator(process, log)
        return started

    def lease(self) -> dict[str, Any]:
        """Reads the Lease's spec; empty where there is none."""
        done = self.kubectl.attempt("get", *LEASE, "-n", self.namespace, "-o", "json")
        return dict(json.loads(done.stdout).get("spec", {})) if done.returncode == 0 else {}

    def holder(self) -> str:
        """Returns the name of the operator that holds the Lease."""
        return str(self.lease().get("holderIdentity", "")).partition("_")[0]

    def leader(self, *, other_than: str = "") -> Operator:
        """Waits for a leader."""
        name = self.until("a leader", self.holder, lambda seen: seen not in ("", other_than))
        return self.operators[name]

    def until(self, what: str, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        """Waits for something; tells the operators' logs where it does not come."""
        end = time.monotonic() + SECONDS
        while not good(seen := look()):
            if time.monotonic() > end:
                logs = "\n".join(one.output()[-3000:] for one in self.operators.values())
                raise AssertionError(f"waited for {what}; last seen: {seen}\n{logs}")
            time.sleep(0.1)
        return seen

    def apply(self, depth: int) -> None:
        """Applies the Tenant with one figure that its document has."""
        spec = {"apiKeys": [{"name": "web"}], "queue": {"maxDepth": depth}}
        self.kubectl.apply(
            {
                "apiVersion": names.API_VERSION,
                "kind": "Tenant",
                "metadata": {"name": TENANT},
                "spec": spec,
            }
        )

    def document(self) -> dict[str, Any]:
        """Reads the tenant's document; empty where there is none."""
        done = self.kubectl.attempt(
            "get", "configmap", names.DOCUMENT_CONFIGMAP, "-n", f"relay-{TENANT}", "-o", "json"
        )
        if done.returncode:
            return {}
        envelope = json.loads(done.stdout)["data"]["relay.json"]
        return dict(json.loads(json.loads(envelope)["payload"]))

    def acts(self, depth: int) -> dict[str, Any]:
        """Checks that a change of the spec gets into the document; returns it."""
        self.apply(depth)
        return self.until(
            f"a document with depth {depth}",
            self.document,
            lambda seen: bool(seen) and seen["tenant"]["queue"]["maxDepth"] == depth,
        )

    def versions(self) -> dict[str, str]:
        """Returns the version of everything that operators alone write; a status follows what the cluster does as well."""
        kinds = "configmaps,secrets,services,networkpolicies,deployments,serviceaccounts"
        items = self.kubectl.json("get", kinds, "-n", f"relay-{TENANT}")["items"]
        return {
            f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in items
            # by controllers and by the cluster, of themselves
            if one["kind"] not in ("Deployment",) and one["metadata"]["name"] != "kube-root-ca.crt"
        }


@pytest.fixture
def scene(kubectl: Client, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    made = Scene(kubectl, namespace, tmp_path)
    for _ in range(2):
        made.start()
    try:
        yield made
    finally:
        for one in made.operators.values():
            with contextlib.suppress(ProcessLookupError):
                one.signal(signal.SIGCONT)
                one.signal(signal.SIGKILL)
            one.ends()
        kubectl("delete", "tenant", TENANT, "--ignore-not-found", "--wait=false")
        kubectl("delete", "namespace", f"relay-{TENANT}", "--ignore-not-found")


@pytest.mark.timeout(400)
def test_another_operator_goes_on_whatever_happens_to_the_leader(scene: Scene) -> None:
    first = scene.leader()
    assert scene.acts(11)["epoch"] == scene.lease()["leaseTransitions"] == 1
    # the API server tells when it stored a renewal, by which a later leader compares clocks
    stored = leases.read(
        scene.kubectl.json("get", *LEASE, "-n", scene.namespace, "--show-managed-fields")
    )
    assert abs(stored.renewed_at - stored.stored_at) < 5

    # ended in order: it gives the Lease back
    name = scene.holder()
    first.signal(signal.SIGTERM)
    began = time.monotonic()
    second = scene.leader(other_than=name)
    ended = time.monotonic() - began
    assert first.ends() == 0
    assert scene.acts(12)["epoch"] == 2
    assert "Traceback" not in first.output()

    # killed
    scene.start()
    name = scene.holder()
    second.signal(signal.SIGKILL)
    began = time.monotonic()
    third = scene.leader(other_than=name)
    killed = time.monotonic() - began
    assert scene.acts(13)["epoch"] == 3

    # its Lease deleted: it goes on
    name = scene.holder()
    scene.kubectl("delete", *LEASE, "-n", scene.namespace)
    scene.until("a Lease", scene.holder, bool)
    assert scene.holder() == name
    assert scene.acts(14)["epoch"] == 3

    # stopped, in the middle of a change, and continued
    scene.start()
    scene.apply(15)
    third.signal(signal.SIGSTOP)
    began = time.monotonic()
    scene.leader(other_than=name)
    stopped = time.monotonic() - began
    assert scene.acts(16)["epoch"] == 4
    before = scene.until("quiet", _twice(scene.versions), bool)
    third.signal(signal.SIGCONT)
    scene.until("its notice", third.output, lambda seen: "lead lost" in seen)
    # what it would still write has this time to arrive
    time.sleep(4)
    assert scene.versions() == before
    assert scene.holder() != name
    assert scene.acts(17)["epoch"] == 4
    print(f"ended {ended:.1f} s, killed {killed:.1f} s, stopped {stopped:.1f} s")


def _twice(look: Callable[[], dict[str, str]]) -> Callable[[], dict[str, str]]:
    """Returns a look that shows something only where it is the same as two seconds ago."""

    def twice() -> dict[str, str]:
        before = look()
        # quiet is what stays the same for so long
        time.sleep(2)
        return before if look() == before else {}

    return twice
