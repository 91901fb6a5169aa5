"""Asks the API server over connections that are kept: a start of kubectl takes the processors twenty times as long as a request."""

import base64
import functools
import json
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
import yaml
from bench.tenants.api_client import client_context
from tests.cluster.session import served_kinds
from tests.cluster.session.clients import Client
from tests.cluster.session.served_kinds import ServedKind

Manifest = dict[str, Any]

DRY: Final = {"dryRun": "All"}
_STRICT: Final = {"fieldValidation": "Strict"}
"""Has the API server refuse unknown fields, as kubectl does unless told otherwise."""
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_AT_ONCE: Final = 4
_SECONDS: Final = 60.0
_SERVED_SECONDS: Final = 20.0
"""A definition that is in force is listed a moment later."""
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds an answer of the API server."""

    status: int
    body: Manifest

    @property
    def refusal(self) -> str:
        """Returns why it refused; empty where it did what was asked."""
        if self.status < 300:
            return ""
        return f"{self.body.get('reason', self.status)}: {self.body.get('message', '')}"


class ApiRequests:
    """Requests of the only user of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = str(cluster["server"])
        self._headers = {"authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._pool = urllib3.PoolManager(
            maxsize=_AT_ONCE, ssl_context=_context(cluster, user), retries=False, timeout=_SECONDS
        )
        self._known: list[ServedKind] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        content: str = "application/json",
        acts_as: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Sends a request; acts_as are the headers of an impersonation."""
        headers = urllib3.HTTPHeaderDict(self._headers)
        headers.extend({"content-type": content})
        for name, value in acts_as:
            headers.add(name, value)
        url = f"{self._server}{path}?{urlencode(query or {})}"
        data = None if body is None else json.dumps(body).encode()
        response = self._pool.request(method, url, body=data, headers=headers)
        return Answer(response.status, _parsed(response.data))

    def create(
        self, manifest: Manifest, acts_as: Iterable[tuple[str, str]] = (), *, dry: bool = False
    ) -> Answer:
        """Creates an object as `kubectl create` does, or lets the API server say what would become of that."""
        path = self._of(manifest).path(manifest["metadata"].get("namespace", "default"))
        query = _STRICT | {"fieldManager": "kubectl-create"} | (DRY if dry else {})
        return self.ask("POST", path, manifest, query=query, acts_as=acts_as)

    def apply(self, manifest: Manifest, acts_as: Iterable[tuple[str, str]] = ()) -> Answer:
        """Applies an object as the operator does, by server-side apply."""
        metadata = manifest["metadata"]
        path = self._of(manifest).path(metadata.get("namespace", "default"), metadata["name"])
        query = _STRICT | {"fieldManager": "relay-operator", "force": "true"}
        return self.ask("PATCH", path, manifest, query=query, content=_APPLY_PATCH, acts_as=acts_as)

    def patch(
        self,
        kind: str,
        name: str,
        space: str,
        change: Any,
        *below: str,
        acts_as: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Changes an object, or what stands below it, by the operations of a JSON patch or by a merge patch."""
        content = _JSON_PATCH if isinstance(change, list) else _MERGE_PATCH
        path = self._named(kind).path(space or "default", name, *below)
        query = {"fieldManager": "kubectl-patch"}
        return self.ask("PATCH", path, change, query=query, content=content, acts_as=acts_as)

    def get(self, kind: str, name: str, space: str = "") -> Answer:
        """Reads an object."""
        return self.ask("GET", self._named(kind).path(space or "default", name))

    def _of(self, manifest: Manifest) -> ServedKind:
        wanted = (manifest["apiVersion"], manifest["kind"])
        return self._found(wanted, lambda one: (one.version, one.kind))

    def _named(self, kind: str) -> ServedKind:
        return self._found(kind, lambda one: one.singular)

    def _found(self, wanted: Any, by: Any) -> ServedKind:
        deadline = time.monotonic() + _SERVED_SECONDS
        while not (found := [one for one in self._known if by(one) == wanted]):
            assert time.monotonic() < deadline, f"the API server does not serve {wanted}"
            if self._known:
                time.sleep(_LOOK_SECONDS)
            self._known = [one for path in served_kinds.ROOTS for one in self._served(path)]
        return found[0]

    def _served(self, path: str) -> Iterator[ServedKind]:
        headers = self._headers | {"accept": served_kinds.ACCEPTED}
        response = self._pool.request("GET", self._server + path, headers=headers)
        return served_kinds.served(json.loads(response.data))


@functools.cache
def _kept(kubeconfig: Path) -> ApiRequests:
    return ApiRequests(kubeconfig)


def requests_of(kubectl: Client) -> ApiRequests:
    """Returns the requests of whom kubectl asks for."""
    return _kept(kubectl.kubeconfig)


def _parsed(data: bytes) -> Manifest:
    try:
        return dict(json.loads(data))
    except ValueError:
        return {"message": data.decode(errors="replace")}


def _context(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    if "token" not in user:
        return client_context(cluster, user)
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return ssl.create_default_context(cadata=authority)
