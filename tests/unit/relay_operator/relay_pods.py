"""Relay pods that stand in at the operator's adapter: they accept documents by the relay's own rules."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.injected_failures import InjectedFailures

from relay.process.document_acceptance import Acceptance, Accepted
from relay_contract import document, endpoints
from relay_contract.seal import DocumentRejected
from relay_operator import names
from relay_operator.cluster.relays import Pod
from relay_operator.errors import Unavailable

_KEEPS_A_NEWER_ONE = frozenset({"stale_generation", "conflicting_generation"})


@dataclass(slots=True)
class RelayPods:
    """Every relay pod of the cluster, with the document in force in each.

    silent are the names of pods that do not answer; refused are providers whose key no pod mounts.
    meanwhile is called at each push, for what happens while the operator waits for the answer.
    """

    server: InMemoryApiServer
    public_key: Ed25519PublicKey
    in_force: dict[str, Accepted] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    meanwhile: Callable[[], None] = lambda: None

    def take(self, pod: Pod, sealed: str) -> document.Acknowledgement:
        """Answers a push as the admin port does; Unavailable where the port would not acknowledge."""
        self.meanwhile()
        if pod.name in self.silent:
            raise Unavailable(f"pod {pod.namespace}/{pod.name} did not take the document")
        acceptance = Acceptance((self.public_key,), self._tenant_uid(pod.namespace))
        try:
            accepted = acceptance.judge(sealed.encode(), self.in_force.get(pod.uid))
        except DocumentRejected as error:
            if error.code not in _KEEPS_A_NEWER_ONE:
                raise Unavailable(f"pod {pod.namespace}/{pod.name} refused: {error}") from error
        else:
            self.in_force[pod.uid] = accepted
        return self._acknowledgement(pod)

    @property
    def documents(self) -> dict[str, document.Document]:
        """The document in force in each pod, by the pod's UID."""
        return {uid: accepted.document for uid, accepted in self.in_force.items()}

    def weight(self, pod_name: str, route: str, *, namespace: str) -> int | None:
        """Returns the canary's weight that a pod serves; None when it does not know the route."""
        pod = self.server.stored("Pod", pod_name, namespace=namespace)
        accepted = self.in_force.get(pod["metadata"]["uid"])
        routes = accepted.document.tenant.routes if accepted else ()
        return next((one.canary_percent for one in routes if one.name == route), None)

    def _acknowledgement(self, pod: Pod) -> document.Acknowledgement:
        accepted = self.in_force[pod.uid]
        mounted = self._mounted(pod.namespace)
        return document.Acknowledgement(
            digest=accepted.digest,
            generation=accepted.generation,
            workers=1,
            missing_keys=tuple(
                provider.name
                for provider in accepted.document.catalogue.providers
                if provider.auth.key_file and provider.name not in mounted
            ),
        )

    def _tenant_uid(self, namespace: str) -> str:
        """Returns the UID that the Deployment gives to its pods."""
        deployment = self.server.stored("Deployment", names.RELAY, namespace=namespace)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        environment = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        return str(environment[endpoints.ENV_TENANT_UID])

    def _mounted(self, namespace: str) -> set[str]:
        secret = self.server.get("Secret", names.UPSTREAM_SECRET, namespace=namespace) or {}
        return set(secret.get("data", {})) - self.refused


@dataclass(frozen=True, slots=True)
class Pushes:
    """One operator's way to the relay pods. A push counts as a write: the operator can die after it."""

    pods: RelayPods
    failures: InjectedFailures

    async def push(self, pod: Pod, sealed: str) -> document.Acknowledgement:
        await asyncio.sleep(0)
        self.failures.before_write("PUT", "Document")
        answer = self.pods.take(pod, sealed)
        self.failures.after_write()
        return answer
