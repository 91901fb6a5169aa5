"""The whole operator in one test, in virtual time, and everything that others do around it: people, kubelets and callers."""

import asyncio
from typing import Any

from tests.unit.relay_operator.injected_failures import InjectedFailures
from tests.unit.relay_operator.operator_life import WATCHED, Life
from tests.unit.relay_operator.surroundings import SYSTEM, Surroundings

from relay_operator import names
from relay_operator.api.shards import Shards

Manifest = dict[str, Any]
_QUIET_SECONDS = 5.0


class Stage(Surroundings):
    """A cluster with the operator's surroundings. Everything others do happens through it."""

    def life(
        self,
        failures: InjectedFailures | None = None,
        *,
        prometheus: bool = True,
        elects: str = "",
        shards: Shards | None = None,
        clock_ahead: float = 0.0,
    ) -> Life:
        """Prepares a life of the operator; with a name that it elects itself by, under the fence as in main."""
        return Life(
            self,
            failures,
            prometheus=prometheus,
            elects=elects,
            shards=shards,
            clock_ahead=clock_ahead,
        )

    async def operator(self) -> Life:
        """Starts a life of the operator."""
        life = self.life()
        await life.start()
        return life

    async def operator_of_a_tenant(self, *providers: str) -> Life:
        """Starts a life of the operator with these providers and a tenant, which gets its pod once it has settled."""
        for provider in providers:
            self.provider(provider)
        self.tenant()
        life = await self.operator()
        await self.settle()
        self.pod()
        return life

    async def settle(self, seconds: float = _QUIET_SECONDS) -> None:
        """Lets that much time pass."""
        await asyncio.sleep(seconds)

    def tenant(
        self, name: str = "finance", *, labels: dict[str, str] | None = None, **spec: Any
    ) -> Manifest:
        return self._put("Tenant", name, spec, labels=labels)

    def roll(self, name: str = "finance") -> None:
        """Plays the Deployment controller: all pods of a tenant are of the newest template."""
        body = self.server.stored("Deployment", "relay", namespace=f"relay-{name}")
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
            ],
        }
        self.server.put(body | {"status": status})

    def provider(self, name: str, *, key: bool = True, **spec: Any) -> Manifest:
        """Puts a provider at a public address, with a Secret for its key."""
        body = {
            "endpoint": {"url": f"https://{name}.example.com/v1"},
            "auth": {"secretName": f"{name}-key"},
        } | spec
        if key:
            self.secret(f"{name}-key")
        return self._put("Provider", name, body)

    def tool_server(
        self, name: str = "erp", *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Manifest:
        """Puts a tool server at a public address, without a credential."""
        body = {"endpoint": {"url": f"https://{name}.example.com/mcp"}} | spec
        return self._put("ToolServer", name, body, annotations=annotations)

    def secret(self, name: str, *, value: str = "a2V5") -> None:
        """Puts the Secret NAME-key of the provider NAME."""
        manifest = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        labels = {names.LABEL_PROVIDER: name.removesuffix("-key")}
        metadata = {"name": name, "namespace": SYSTEM, "labels": labels}
        self.server.put({**manifest, "metadata": metadata, "data": {"api-key": value}})

    def route(
        self,
        name: str = "chat",
        *,
        tenant: str = "finance",
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Manifest:
        body = {"stable": {"provider": "legacy"}} | spec
        namespace = names.tenant_namespace(tenant)
        return self._put("RelayRoute", name, body, namespace=namespace, annotations=annotations)

    def pod(
        self,
        name: str = "relay-1",
        *,
        tenant: str = "finance",
        ready: bool = True,
        ip: str = "10.0.0.1",
        host: str = "192.168.0.1",
    ) -> None:
        """Plays the Deployment's pod, as the kubelet reports it."""
        namespace = names.tenant_namespace(tenant)
        status = {
            "phase": "Running",
            "podIP": ip,
            "hostIP": host,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"restartCount": 0}],
        }
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": names.standard_labels(tenant),
        }
        self.server.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})

    def serve(
        self, route: Manifest, calls: float, *, fingerprint: str = "", **parts: float
    ) -> None:
        """Counts calls on every pod of the route's tenant: of its canary, or of the side with the fingerprint.

        parts are failed, throttled or refused ones among them.
        """
        name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
        canary = self.status("RelayRoute", name, tenant="finance")["canaryFingerprint"]
        side = (name, "stable", fingerprint) if fingerprint else (name, "canary", canary)
        for pod in self.server.list("Pod", namespace=namespace):
            counters = self.samples.of(namespace, pod["metadata"]["name"])
            counters.count(side, finished=calls, **parts)

    def copy(self, route: Manifest, *, pair: str = "canary", **outcomes: float) -> None:
        """Counts shadow copies of a route's calls on every pod of its tenant."""
        name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
        canary = self.status("RelayRoute", name, tenant="finance")["canaryFingerprint"]
        for pod in self.server.list("Pod", namespace=namespace):
            counters = self.samples.of(namespace, pod["metadata"]["name"])
            counters.copy((name, canary), pair=pair, **outcomes)

    async def fail(self, route: Manifest) -> None:
        """Lets half of the canary's calls fail for as long as a verdict takes; the last of them are still to be read."""
        for _ in range(3):
            self.serve(route, 100, failed=50)
            await self.settle(1)
        self.serve(route, 100, failed=50)

    def status(self, kind: str, name: str, *, tenant: str = "") -> Manifest:
        namespace = names.tenant_namespace(tenant) if tenant else ""
        status: Manifest = self.server.stored(kind, name, namespace=namespace)["status"]
        return status

    def condition(self, kind: str, name: str, type_: str, *, tenant: str = "") -> Manifest:
        """Returns one condition of an object; an empty one when it is absent."""
        conditions = self.status(kind, name, tenant=tenant).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def events(self) -> list[str]:
        """Returns the reasons of all Events posted so far, in order."""
        return [event["reason"] for event in self.server.list("Event")]

    def moves(self) -> list[str]:
        """Returns the reasons of the Events that tell of moves of canaries, in order."""
        posted = self.server.list("Event")
        return [event["reason"] for event in posted if event["action"] == "Move"]

    def everything(self) -> dict[tuple[str, str, str], Manifest]:
        """Returns every object of the kinds that the operator writes, but for its resourceVersion."""
        kinds = (*WATCHED, "Secret")
        found = {}
        for kind in kinds:
            for one in self.server.list(kind):
                metadata = one["metadata"]
                found[kind, metadata.get("namespace", ""), metadata["name"]] = one
        return found

    def _put(
        self,
        kind: str,
        name: str,
        spec: Manifest,
        *,
        namespace: str = "",
        annotations: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Manifest:
        metadata: Manifest = {"name": name} | ({"namespace": namespace} if namespace else {})
        if labels is not None:
            metadata["labels"] = labels
        if annotations is not None:
            metadata["annotations"] = annotations
        known = self.server.get(kind, name, namespace=namespace)
        if known is not None and "finalizers" in known["metadata"]:
            # as kubectl apply leaves them
            metadata["finalizers"] = known["metadata"]["finalizers"]
        return self.server.put(
            {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        )
