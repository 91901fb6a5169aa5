"""The API of Kubernetes over HTTP, as far as the operator speaks it, in front of the server in memory.

Left out: TLS, rights, discovery beyond names, and everything else that costs an API server time.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web
from bench.fleet.fleet_server import FleetServer, Manifest

from relay_operator.cluster.api_server import PATHS
from relay_operator.errors import ApiServerRefused, Conflict

_KINDS: Final = {(prefix, plural): kind for kind, (prefix, plural, _) in PATHS.items()}
_BOOKMARK_SECONDS: Final = 55.0
_VERBS: Final = ("create", "delete", "get", "list", "patch", "update", "watch")
_METADATA: Final = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


class HttpApi:
    """Answers the operator's requests; counts those that are no watch or list, by verb and kind."""

    def __init__(self, server: FleetServer) -> None:
        self._server = server
        self.requests: Counter[str] = Counter()
        self._continued: dict[str, list[bytes]] = {}
        self._tokens = itertools.count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any path of the API."""
        parts = [one for one in request.path.split("/") if one]
        depth = 2 if parts[:1] == ["api"] else 3
        if len(parts) < depth:
            return _groups(parts)
        prefix, rest = "/" + "/".join(parts[:depth]), parts[depth:]
        if not rest:
            return _resources(prefix, "/".join(parts[1:depth]))
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        kind = _KINDS.get((prefix, rest[0]))
        if kind is None:
            return _failure(404, "no such kind")
        name, subresource, *_ = (*rest[1:], "", "")
        try:
            return await self._answer(request, (kind, namespace, name), subresource)
        except Conflict as error:
            return _failure(409, str(error))
        except ApiServerRefused as error:
            return _failure(error.status, str(error))

    async def _answer(
        self, request: web.Request, key: tuple[str, str, str], subresource: str
    ) -> web.StreamResponse:
        kind, namespace, name = key
        if name or request.method != "GET":
            self.requests[f"{request.method} {kind}"] += 1
            return await self._one(request, key, subresource)
        only_metadata = "PartialObjectMetadata" in request.headers.get("Accept", "")
        if not request.query.get("watch"):
            return self._list(request.query, kind, namespace, only_metadata=only_metadata)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        # of an operator that was killed
        with contextlib.suppress(ConnectionResetError):
            await self._watch(
                response, request.query, (kind, namespace), only_metadata=only_metadata
            )
        return response

    async def _one(
        self, request: web.Request, key: tuple[str, str, str], subresource: str
    ) -> web.Response:
        kind, namespace, name = key
        if request.method == "GET":
            text = self._server.texts[kind].get(key)
            return _failure(404, f'"{name}" not found') if text is None else _text(text)
        body = orjson.loads(await request.read() or b"{}")
        manager = request.query.get("fieldManager", "client-library")
        match request.method:
            case "POST":
                made = self._server.create(body, (manager, "Update"))
                return _text(orjson.dumps(made), status=201)
            case "DELETE":
                uid = (body.get("preconditions") or {}).get("uid")
                found = self._server.get(kind, name, namespace=namespace)
                if found is None or uid not in (None, found["metadata"]["uid"]):
                    return _failure(404 if found is None else 409, "not that one")
                self._server.remove(kind, name, namespace=namespace)
                return _text(b"{}")
        if "apply-patch" in request.headers.get("Content-Type", ""):
            return _text(orjson.dumps(self._server.apply(body, (manager, "Apply"))))
        patched = self._server.patch(key, body, (manager, "Update"), subresource=subresource)
        return _text(orjson.dumps(patched))

    def _list(
        self, query: Mapping[str, str], kind: str, namespace: str, *, only_metadata: bool
    ) -> web.Response:
        left = self._continued.pop(query.get("continue", ""), None)
        if left is None:
            matches = _selector(query)
            left = [
                text
                for key, text in self._server.texts[kind].items()
                if namespace in ("", key[1]) and matches(self._server.metadata(key))
            ]
        limit = int(query.get("limit", 0)) or len(left)
        page, left = left[:limit], left[limit:]
        metadata: Manifest = {"resourceVersion": str(self._server.version)}
        if left:
            metadata["continue"] = str(next(self._tokens))
            self._continued[metadata["continue"]] = left
        if only_metadata:
            page = [_metadata_alone(orjson.loads(one)) for one in page]
        head = {"apiVersion": _version(kind), "kind": f"{kind}List", "metadata": metadata}
        return _text(orjson.dumps(head)[:-1] + b',"items":[' + b",".join(page) + b"]}")

    async def _watch(
        self,
        response: web.StreamResponse,
        query: Mapping[str, str],
        of: tuple[str, str],
        *,
        only_metadata: bool,
    ) -> None:
        (kind, namespace), matches = of, _selector(query)

        async def tell(type_: str, stored: Manifest) -> None:
            metadata = stored["metadata"]
            if namespace in ("", metadata.get("namespace", "")) and matches(metadata):
                text = _metadata_alone(stored) if only_metadata else orjson.dumps(stored)
                await response.write(b'{"type":"%b","object":%b}\n' % (type_.encode(), text))

        seen = int(query.get("resourceVersion", "") or 0)
        if not seen:
            seen = self._server.version
            for text in [*self._server.texts[kind].values()]:
                await tell("ADDED", orjson.loads(text))
        loop = asyncio.get_running_loop()
        end = loop.time() + float(query.get("timeoutSeconds", 300))
        bookmark = loop.time() + _BOOKMARK_SECONDS
        while loop.time() < end:
            news = self._server.news[kind]
            for version, type_, stored in self._events(kind, seen):
                seen = version
                await tell(type_, stored)
            try:
                async with asyncio.timeout(max(min(bookmark, end) - loop.time(), 0)):
                    await news.wait()
            except TimeoutError:
                bookmark = loop.time() + _BOOKMARK_SECONDS
                await response.write(self._bookmark(kind))

    def _events(self, kind: str, seen: int) -> list[tuple[int, str, Manifest]]:
        """Returns version, type and object of the events of a kind after a version."""
        found = []
        for version, of_kind, type_, stored in reversed(self._server.told):
            if version <= seen:
                break
            if of_kind == kind:
                found.append((version, type_, stored))
        return found[::-1]

    def _bookmark(self, kind: str) -> bytes:
        metadata = {"resourceVersion": str(self._server.version)}
        mark = {"kind": kind, "apiVersion": _version(kind), "metadata": metadata}
        return orjson.dumps({"type": "BOOKMARK", "object": mark}) + b"\n"


def _groups(parts: list[str]) -> web.Response:
    if parts == ["api"]:
        return _text(orjson.dumps({"kind": "APIVersions", "versions": ["v1"]}))
    groups = {}
    for prefix, _ in _KINDS:
        if prefix.startswith("/apis/"):
            _, _, group, version = prefix.split("/")
            entry = {"groupVersion": f"{group}/{version}", "version": version}
            groups[group] = {"name": group, "versions": [entry], "preferredVersion": entry}
    return _text(orjson.dumps({"kind": "APIGroupList", "groups": [*groups.values()]}))


def _resources(prefix: str, version: str) -> web.Response:
    found = [
        {"name": plural, "singularName": kind.lower(), "namespaced": PATHS[kind][2], "kind": kind}
        for (at, plural), kind in _KINDS.items()
        if at == prefix
    ]
    found = [{**one, "verbs": _VERBS} for one in found]
    found += [{**one, "name": f"{one['name']}/status", "verbs": ["get", "patch"]} for one in found]
    head = {"kind": "APIResourceList", "groupVersion": version}
    return _text(orjson.dumps({**head, "resources": found}))


def _version(kind: str) -> str:
    return PATHS[kind][0].removeprefix("/apis/").removeprefix("/api/")


def _selector(query: Mapping[str, str]) -> Callable[[Manifest], bool]:
    labels = [pair.partition("=") for pair in query.get("labelSelector", "").split(",") if pair]
    fields = [pair.partition("=") for pair in query.get("fieldSelector", "").split(",") if pair]

    def matches(metadata: Manifest) -> bool:
        own = metadata.get("labels") or {}
        return all(
            name in own and (not equals or own[name] == value) for name, equals, value in labels
        ) and all(
            metadata.get(name.removeprefix("metadata."), "") == value for name, _, value in fields
        )

    return matches


def _metadata_alone(stored: Manifest) -> bytes:
    return orjson.dumps({**_METADATA, "metadata": stored["metadata"]})


def _text(text: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=text, status=status, content_type="application/json")


def _failure(status: int, message: str) -> web.Response:
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return _text(orjson.dumps({**body, "code": status, "message": message}), status=status)
