"""The command relay-operator trial: sends a call through a tenant that exists for this alone, as `helm test` does."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from relay_contract import endpoints
from relay_operator import names
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer, KubernetesApiServer, Manifest
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.cluster.trial import calls
from relay_operator.cluster.trial.calls import MODEL
from relay_operator.errors import Conflict, OperatorError

SUMMARY: Final = "send a call through a throw-away tenant, as helm test does"
DESCRIPTION: Final = """\
Makes a Provider that leads to this very pod, a Tenant that adopts its namespace, and a RelayRoute; calls the tenant's relay with the
tenant's API key until the call comes back through the Provider; then removes what it made, also when it failed.
"""
_PAUSE_SECONDS: Final = 0.5

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the chart's test names. tenant is the name of the Tenant and of the Provider; service leads to this pod at port."""

    tenant: str
    namespace: str
    service: str
    port: int
    seconds: float

    @property
    def home(self) -> str:
        """The tenant's namespace."""
        return names.tenant_namespace(self.tenant)

    @property
    def address(self) -> str:
        """Base URL of the tenant's relay."""
        return f"http://{names.RELAY}.{self.home}.svc:{endpoints.TRAFFIC_PORT}/v1"


async def run(trial: Trial) -> int:
    """Tries the way of a call; returns the exit code. Raises OperatorError."""
    api = await KubernetesApiServer.connect(ApiTraffic())
    try:
        async with calls.provider(trial.port) as answer:
            await attempt(api, trial, lambda key: calls.is_served(trial.address, key, answer))
    finally:
        await api.close()
    return 0


async def attempt(
    api: ApiServer,
    trial: Trial,
    call: Callable[[str], Awaitable[bool]],
    *,
    say: Callable[[str], None] = print,
) -> None:
    """Makes the tenant, calls through it with its key and removes it. Raises OperatorError that says how far it came.

    call tells whether a call with this API key came back from the trial's own provider.
    """
    try:
        async with asyncio.timeout(trial.seconds):
            await _make(api, trial, say)
            key = await _until(lambda: _api_key(api, trial))
            say(f"the operator has made the API key of tenant {trial.tenant}")
            await _until(lambda: call(key))
        say("a call went from here through the tenant's relay to its provider and back")
    except TimeoutError as error:
        raise OperatorError(
            f"no call came through in {trial.seconds:.0f} s; {await _state(api, trial)}"
        ) from error
    finally:
        await _remove(api, trial)
    say(f"tenant {trial.tenant} is removed")


def manifests(trial: Trial) -> tuple[Manifest, ...]:
    """Returns what the trial makes, in this order."""
    reference = {
        "namespace": trial.namespace,
        "name": trial.service,
        "port": trial.port,
        "path": "/v1",
    }
    return (
        _object("Provider", trial.tenant, {"endpoint": {"serviceRef": reference}}),
        _object(
            "Tenant",
            trial.tenant,
            {
                "namespacePolicy": "Adopt",
                "relay": {"replicas": 1},
                "network": {"allowFrom": [{"namespace": trial.namespace}]},
            },
        ),
        _object(
            "RelayRoute",
            MODEL,
            {"match": {"models": [MODEL]}, "stable": {"provider": trial.tenant, "model": MODEL}},
            namespace=trial.home,
        ),
    )


async def _make(api: ApiServer, trial: Trial, say: Callable[[str], None]) -> None:
    for manifest in manifests(trial):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            await api.create(manifest)
        except Conflict as error:
            raise OperatorError(
                f"{name} was there already, of a trial that was interrupted; it is removed now: try again"
            ) from error
        say(f"{name} is made")


async def _api_key(api: ApiServer, trial: Trial) -> str:
    secret = await api.get("Secret", names.API_KEYS_SECRET, namespace=trial.home)
    return key_secrets.decode(secret).get(names.DEFAULT_API_KEY, "")


async def _until(look: Callable[[], Awaitable[Found]]) -> Found:
    while not (found := await look()):  # noqa: ASYNC110 - nothing here tells of what others write
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


async def _state(api: ApiServer, trial: Trial) -> str:
    """Says what the objects tell of themselves, of which one says what is missing."""
    said = []
    for manifest in manifests(trial):
        kind, metadata = manifest["kind"], manifest["metadata"]
        live = await api.get(kind, metadata["name"], namespace=metadata.get("namespace", ""))
        conditions = ((live or {}).get("status") or {}).get("conditions") or ()
        ready = next((one for one in conditions if one["type"] == "Ready"), None)
        words = "no operator has looked at it" if ready is None else json.dumps(ready["message"])
        said.append(f"{kind} {metadata['name']}: {words}")
    return "; ".join(said)


async def _remove(api: ApiServer, trial: Trial) -> None:
    """Deletes what the trial made, the route with its namespace's end; waits until the Tenant is gone."""
    for kind, name, space in (
        ("RelayRoute", MODEL, trial.home),
        ("Tenant", trial.tenant, ""),
        ("Provider", trial.tenant, ""),
    ):
        try:
            await _delete(api, kind, name, space, trial.seconds)
        except TimeoutError as error:
            raise OperatorError(
                f"{kind} {name} was deleted and is still there after {trial.seconds:.0f} s"
            ) from error


async def _delete(api: ApiServer, kind: str, name: str, space: str, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            live = await api.get(kind, name, namespace=space)
            if live is None:
                return
            if "deletionTimestamp" not in live["metadata"]:
                await api.delete(kind, name, namespace=space, uid=live["metadata"]["uid"])
            await asyncio.sleep(_PAUSE_SECONDS)


def _object(kind: str, name: str, spec: dict[str, Any], *, namespace: str = "") -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
