"""Provider: resolve where it is, tell whether relays can use it."""

import time
from urllib.parse import urlsplit

from relay_operator.api.provider import Provider, ServiceRef
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions.conditions import Condition
from relay_operator.errors import InvalidSpec
from relay_operator.manifests.environment import Upstream
from relay_operator.names import ConditionType, Reason
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_LOOK_AGAIN_SECONDS = 3.0


class ProviderReconciler:
    def __init__(
        self,
        *,
        api: ApiServer,
        world: WatchedState,
        status: StatusWriter,
        queue: WorkQueue,
        operator_namespace: str,
    ) -> None:
        self._api = api
        self._world = world
        self._status = status
        self._queue = queue
        self._operator_namespace = operator_namespace

    async def reconcile(self, name: str) -> None:
        """The provider's address is known to the world, its users are looked at, and its status says how it is."""
        body = self._world.providers.get(name)
        using = self._world.tenants_using(name)
        if body is None:
            self._world.upstreams.pop(name, None)
        else:
            await self._report(body, using)
        for tenant in using:
            self._queue.add(Key("Tenant", "", tenant))

    async def _report(self, body: dict[str, object], using: set[str]) -> None:
        fields: dict[str, object] = {"tenants": len(using)}
        try:
            provider = Provider.parse(body)
        except InvalidSpec as error:
            await self._status.write(
                "Provider", body, fields, _refused(Reason.INVALID_SPEC, str(error)), now=time.time()
            )
            return
        fields["url"] = provider.url
        problem = await self._resolve(provider)
        if problem is None:
            ready = Condition(
                type=ConditionType.READY,
                status="True",
                reason=Reason.CONFIGURED,
                message="address and key are known",
            )
            wanted = [ready]
        else:
            wanted = _refused(*problem)
            # neither Services nor Secrets are watched: look again until what is missing is there
            self._queue.add_after(Key("Provider", "", provider.metadata.name), _LOOK_AGAIN_SECONDS)
        await self._status.write("Provider", body, fields, wanted, now=time.time())

    async def _resolve(self, provider: Provider) -> tuple[Reason, str] | None:
        name = provider.metadata.name
        ref = provider.spec.endpoint.service_ref
        if ref is None:
            self._world.upstreams[name] = _external(provider)
        else:
            upstream = await self._service(name, ref)
            if upstream is None:
                self._world.upstreams.pop(name, None)
                return (
                    Reason.SERVICE_NOT_FOUND,
                    f"there is no Service {ref.namespace}/{ref.name} with port {ref.port} and a selector",
                )
            self._world.upstreams[name] = upstream
        _, missing = await key_secrets.provider_keys(
            self._api, [provider], namespace=self._operator_namespace
        )
        return (Reason.SECRET_MISSING, missing[name]) if missing else None

    async def _service(self, provider: str, ref: ServiceRef) -> Upstream | None:
        """NetworkPolicy sees pods, not Services: the Service's selector and the port its pods listen on."""
        service = await self._api.get("Service", ref.name, namespace=ref.namespace)
        spec = (service or {}).get("spec", {})
        port = next((port for port in spec.get("ports", []) if port["port"] == ref.port), None)
        if port is None or not spec.get("selector"):
            return None
        return Upstream(
            provider=provider,
            port=port.get("targetPort", ref.port),
            namespace=ref.namespace,
            pod_selector=tuple(sorted(spec["selector"].items())),
        )


def _external(provider: Provider) -> Upstream:
    parts = urlsplit(provider.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Upstream(provider=provider.metadata.name, port=port, cidrs=provider.spec.egress_cidrs)


def _refused(reason: Reason, message: str) -> list[Condition]:
    return [
        Condition(type=ConditionType.READY, status="False", reason=reason, message=message),
        Condition(type=ConditionType.STALLED, status="True", reason=reason, message=message),
    ]
