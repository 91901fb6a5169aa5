"""The Kubernetes API as the control plane uses it: a dozen kinds, dict manifests, server-side apply.

No other module knows the client library (kubernetes.aio), so it can be replaced.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from yaml import YAMLError

from relay_operator import names
from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.leadership import fence as fences
from relay_operator.cluster.leadership.fence import Fence, FencedRequest, Unfenced
from relay_operator.cluster.metrics.api_traffic import ApiTraffic, names_a_proxy
from relay_operator.cluster.watch_stream import WatchEvent, events
from relay_operator.errors import (
    ApiServerRefused,
    Conflict,
    NoCredentials,
    OperatorError,
    Unavailable,
)

Manifest = dict[str, Any]

# A constant table: discovery would cost round trips and a cache file.
PATHS: dict[str, tuple[str, str, bool]] = {
    "Namespace": ("/api/v1", "namespaces", False),
    "Secret": ("/api/v1", "secrets", True),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "Pod": ("/api/v1", "pods", True),
    "Event": ("/api/v1", "events", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "ResourceQuota": ("/api/v1", "resourcequotas", True),
    "LimitRange": ("/api/v1", "limitranges", True),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "CustomResourceDefinition": (
        "/apis/apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        False,
    ),
    "Tenant": (f"/apis/{names.API_VERSION}", "tenants", False),
    "Provider": (f"/apis/{names.API_VERSION}", "providers", False),
    "RelayRoute": (f"/apis/{names.API_VERSION}", "relayroutes", True),
    "ToolServer": (f"/apis/{names.API_VERSION}", "toolservers", False),
    "PriceList": (f"/apis/{names.API_VERSION}", "pricelists", False),
}
"""kind -> (API prefix, plural, namespaced)"""

_OWN_API = f"/apis/{names.GROUP}/"
_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA_ONLY_WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_TIMEOUT_SECONDS = 5.0
_WATCH_SECONDS = 300
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT_SECONDS, sock_read=150.0)
"""Bookmarks come about once a minute: a connection on which nothing does is dead."""
_THROTTLED = frozenset({429, 503})
_ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 10.0
"""Whatever the server asks for: the queue's backoff is longer, and holds up no worker."""
_PAGE = 500
"""Objects of a list that are read at once: a list of all would keep everything else waiting while it is read."""
_MOST_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one object: etcd takes 1.5 MiB. Of a page of a list of metadata: far more than it has."""


class ApiServer(Protocol):
    """Seven verbs on manifests. Every one raises ApiServerRefused or Unavailable; writes raise Conflict too."""

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        """Returns the object, None when there is none."""

    async def list_metadata(
        self, kind: str, *, selector: str = "", namespace: str = ""
    ) -> list[Manifest]:
        """Lists the metadata, but for managedFields, of all objects of a kind, in every namespace or in one, that match a label
        selector.
        """

    def watch_metadata(
        self, kind: str, name: str = "", *, since: str = "", namespace: str = "", selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Goes through what happens to the objects of this name, or to those that match a label selector, after a version; all
        there are if empty. In every namespace if none is given.

        Ends by itself after some minutes. Raises ApiServerRefused with status 410 for a version that is too old.
        """

    async def create(self, manifest: Manifest) -> Manifest:
        """Creates the object; raises Conflict when it exists already."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Applies the complete intent on the server's side, taking over fields that others set.

        A field that an earlier intent held and this one does not is removed, unless somebody else set it too. A
        manifest that carries a resourceVersion is refused with Conflict when somebody wrote since.
        """

    async def patch(
        self, kind: str, name: str, patch: Manifest, *, namespace: str = "", subresource: str = ""
    ) -> Manifest:
        """Applies a JSON merge patch (RFC 7386) to the object, or to its subresource "status" alone."""

    async def delete(self, kind: str, name: str, *, namespace: str = "", uid: str) -> None:
        """Deletes exactly the object with this UID; raises Conflict when it is another, does nothing when it is gone."""


class KubernetesApiServer:
    """One connection pool to the API server. Create it with connect(), close it at the end."""

    def __init__(self, client: kubernetes_client.ApiClient, *, fence: Fence | None = None) -> None:
        self._client = client
        self._fence = fence or Unfenced()

    @classmethod
    async def connect(cls, traffic: ApiTraffic) -> Self:
        """Logs in with the ServiceAccount in a pod, elsewhere with the kubeconfig's current context.

        Raises NoCredentials where there is neither.
        """
        configuration = kubernetes_client.Configuration()
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        except kubernetes_config.ConfigException as no_pod:
            await _use_kubeconfig(configuration, no_pod)
        configuration.client_session_kwargs = {
            "request_class": FencedRequest,
            "trace_configs": [traffic.hooks()],
            "trust_env": names_a_proxy(),
        }
        return cls(kubernetes_client.ApiClient(configuration=configuration))

    def fenced(self, fence: Fence) -> Self:
        """Returns the same connections for who writes only while it is the leader."""
        return type(self)(self._client, fence=fence)

    async def close(self) -> None:
        await self._client.close()

    async def published_schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the schemas of our own kinds by kind, as the API server publishes them to everybody (OpenAPI 3)."""
        path = f"/openapi/v3{_OWN_API}{names.VERSION}"
        status, _, data = await self._once("GET", path, {}, None, {"Accept": _JSON})
        if status != 200:
            raise error_of(status, f"GET {path}: {status} {_message(data)}")
        try:
            found = json.loads(data)["components"]["schemas"]
            return {name.rpartition(".")[2]: schema for name, schema in found.items()}
        except (ValueError, LookupError, AttributeError, RecursionError) as error:
            raise Unavailable(f"GET {path}: the answer is no description of an API") from error

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        try:
            return await self._call("GET", _path(kind, namespace, name))
        except ApiServerRefused as error:
            if error.status == 404:
                return None
            raise

    async def list_metadata(
        self, kind: str, *, selector: str = "", namespace: str = ""
    ) -> list[Manifest]:
        path, found, following = _path(kind, namespace), list[Manifest](), ""
        while True:
            asked = {
                "limit": str(_PAGE),
                "labelSelector": selector,
                "continue": following,
            }
            query = {field: value for field, value in asked.items() if value}
            answer = await self._call("GET", path, query=query, accept=_METADATA_ONLY)
            # a list of metadata without an entry is null
            found += map(_told, answer.get("items") or ())
            following = str((answer.get("metadata") or {}).get("continue") or "")
            if not following:
                return found

    async def watch_metadata(
        self, kind: str, name: str = "", *, since: str = "", namespace: str = "", selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        path = _path(kind, namespace)
        asked = {
            "fieldSelector": f"metadata.name={name}" if name else "",
            "labelSelector": selector,
            "resourceVersion": since,
        }
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        } | {field: value for field, value in asked.items() if value}
        headers = {"Accept": _METADATA_ONLY_WATCH}
        what = f"GET {path} (watch of {name or selector})"
        try:
            response = await self._open("GET", path, query, None, headers, _WATCH_TIMEOUT)
            if response.status != 200:
                _answer("GET", path, response.status, await _read(response.response, what))
            try:
                async for event in events(response.response.content.iter_any(), what=what):
                    yield event
            finally:
                _give_up(response.response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(what, error) from error

    async def create(self, manifest: Manifest) -> Manifest:
        path = _path(manifest["kind"], manifest["metadata"].get("namespace", ""))
        return await self._call(
            "POST", path, query={"fieldManager": names.FIELD_MANAGER}, body=manifest
        )

    async def apply(self, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._call(
            "PATCH", path, query=query, body=manifest, content="application/apply-patch+yaml"
        )

    async def patch(
        self, kind: str, name: str, patch: Manifest, *, namespace: str = "", subresource: str = ""
    ) -> Manifest:
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._call("PATCH", path, body=patch, content="application/merge-patch+json")

    async def delete(self, kind: str, name: str, *, namespace: str = "", uid: str) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", _path(kind, namespace, name), body=options)
        except ApiServerRefused as error:
            if error.status != 404:
                raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> Manifest:
        headers = {"Accept": accept, "Content-Type": content}
        for attempt in range(_ATTEMPTS):
            status, answered, data = await self._once(method, path, query or {}, body, headers)
            if status not in _THROTTLED or attempt == _ATTEMPTS - 1:
                return _answer(method, path, status, data)
            wait = _pause_seconds(answered.get("Retry-After", ""), 0.2 * 2**attempt)
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None,
        headers: Mapping[str, str],
    ) -> tuple[int, Mapping[str, str], bytes]:
        if method == "GET":
            return await self._send(method, path, query, body, headers, _TIMEOUT_SECONDS)
        what = f"{method} {path}"
        deadline = fences.bound(self._fence, _TIMEOUT_SECONDS, what=what)
        if deadline < _TIMEOUT_SECONDS:
            # the API server then gives it up as well, wherever it waits there
            query = {**query, "timeout": f"{max(round(deadline * 1000), 1)}ms"}
        with fences.asked_at_the_last_moment(self._fence, what=what):
            return await self._send(method, path, query, body, headers, deadline)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None,
        headers: Mapping[str, str],
        deadline: float,
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            response = await self._open(method, path, query, body, headers, deadline)
            return (
                response.status,
                response.headers,
                await _read(response.response, f"{method} {path}"),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(f"{method} {path}", error) from error

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None,
        headers: Mapping[str, str],
        within: float | aiohttp.ClientTimeout,
    ) -> Any:
        """Sends a request, and returns once the head of the answer is there."""
        parts = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=dict(headers),
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._client.call_api(*parts, _request_timeout=within)


def _unreachable(what: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"{what}: the API server cannot be reached ({str(error) or in_words(error)})"
    )


def _give_up(response: aiohttp.ClientResponse) -> None:
    """Ends the connection of an answer that nobody reads to its end, at once.

    A polite end of TLS takes turns of the event loop: a process that ends meanwhile leaves the socket open.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _MOST_ANSWER_BYTES:
            _give_up(response)
            raise Unavailable(
                f"{what}: the answer is longer than {_MOST_ANSWER_BYTES} bytes, which the API server's are not"
            )
    return bytes(body)


def _pause_seconds(asked: str, usual: float) -> float:
    """Returns the pause that the server asks for in seconds; the usual one where it names a date, or no time at all."""
    try:
        seconds = float(asked)
    except ValueError:
        return usual
    return min(seconds, _LONGEST_PAUSE_SECONDS) if seconds >= 0 else usual


async def _use_kubeconfig(
    configuration: kubernetes_client.Configuration, no_pod: Exception
) -> None:
    try:
        await kubernetes_config.load_kube_config(client_configuration=configuration)
    except (
        kubernetes_config.ConfigException,
        YAMLError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise NoCredentials(
            f"no API server is known: this is no pod with the token of a ServiceAccount ({no_pod}), and there is no "
            f"kubeconfig that can be used, in $KUBECONFIG or ~/.kube/config ({error})"
        ) from error


def _told(item: Manifest) -> Manifest:
    """Returns an object's metadata without who set which field, which of thousands of objects is most of a list."""
    metadata: Manifest = item["metadata"]
    metadata.pop("managedFields", None)
    return metadata


def _path(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural, namespaced = PATHS[kind]
    middle = f"/namespaces/{_segment(namespace)}" if namespaced and namespace else ""
    return f"{prefix}{middle}/{plural}" + (f"/{_segment(name)}" if name else "")


def _segment(name: str) -> str:
    # a name from a custom resource, such as a Provider's Service, must not lead to another path
    return quote(name, safe="")


def _answer(method: str, path: str, status: int, data: bytes) -> Manifest:
    if 200 <= status < 300:
        return _object(f"{method} {path}", data)
    raise error_of(status, f"{method} {path}: {status} {_message(data)}{_advice(path, data)}")


def _advice(path: str, data: bytes) -> str:
    """Says what to do about an API that the server does not have, of which it says this and nothing in JSON."""
    if not data.startswith(b"404 page not found") or not path.startswith(_OWN_API):
        return ""
    return (
        "; the custom resource definitions of this version are not installed: "
        "kubectl apply --server-side --force-conflicts -f crds/"
    )


def _object(what: str, data: bytes) -> Manifest:
    """Reads an answer; what stands between us and the API server may answer with a page of its own."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            f"{what}: the answer is no JSON, so it is not the API server's"
        ) from error
    if not isinstance(answer, dict) or "kind" not in answer:
        raise Unavailable(f"{what}: the answer is no object, so it is not the API server's")
    return answer


def error_of(status: int, message: str) -> OperatorError:
    """Returns the error that callers tell apart for an HTTP status outside 200 to 299."""
    if status == 409:
        return Conflict(message)
    if status in _THROTTLED or status >= 500:
        return Unavailable(message)
    return ApiServerRefused(message, status=status)


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data).get("message", ""))[:500]
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace").strip()
