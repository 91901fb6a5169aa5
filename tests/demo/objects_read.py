"""Reads objects from the API server over a connection that is kept: a process of kubectl for each look costs ten times the look.

Whatever it does not know, kubectl is asked; so are questions that the API server refuses, which it answers in its own words.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException, new_client_from_config
from urllib3.exceptions import HTTPError

_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SECONDS: Final = (5.0, 30.0)
"""For the connection and for the answer."""
_MOST_WORDS: Final = 2
"""Kind and name."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of objects as the API server serves it. path is the one of its group and version."""

    path: str
    api_version: str
    name: str
    kind: str
    namespaced: bool


@dataclass(slots=True)
class _Question:
    """What `kubectl get` is asked. name is empty for all objects of the kind."""

    kind: str
    name: str = ""
    namespace: str = "default"
    labels: str = ""
    everywhere: bool = False


@dataclass(slots=True)
class ObjectsRead:
    """One API server, as a kubeconfig describes it."""

    client: ApiClient
    _kinds: dict[str, _Kind] = field(default_factory=dict)

    def answer(self, arguments: Sequence[str]) -> dict[str, Any] | None:
        """Returns what `kubectl get ARGUMENTS -o json` would print; None if kubectl has to be asked."""
        question = _question(arguments)
        if question is None:
            return None
        try:
            kind = self._kind(question.kind)
            return None if kind is None else self._read(kind, question)
        except (ApiException, HTTPError, ValueError):
            return None

    def _kind(self, name: str) -> _Kind | None:
        if name not in self._kinds:
            self._kinds = {
                **_kinds_by_name(self._get("/apis", accept=_DISCOVERY)),
                **_kinds_by_name(self._get("/api", accept=_DISCOVERY)),
            }
        return self._kinds.get(name)

    def _read(self, kind: _Kind, question: _Question) -> dict[str, Any]:
        path = kind.path
        if kind.namespaced and not question.everywhere:
            path += f"/namespaces/{quote(question.namespace)}"
        path += f"/{kind.name}"
        if question.name:
            return _shown(self._get(f"{path}/{quote(question.name)}"))
        found = self._get(path, {"labelSelector": question.labels} if question.labels else {})
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        return {
            "apiVersion": "v1",
            "kind": "List",
            "items": [_shown(named | one) for one in found["items"]],
        }

    def _get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
    ) -> dict[str, Any]:
        parts = self.client.param_serialize(
            *("GET", path),
            query_params=list((query or {}).items()),
            header_params={"Accept": accept},
            auth_settings=["BearerToken"],
        )
        answer = self.client.call_api(*parts, _request_timeout=_SECONDS)
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status != HTTPStatus.OK:
            raise ApiException(status=answer.status)
        return found


def reads(kubeconfig: Path) -> ObjectsRead:
    """Returns what reads from the API server of a kubeconfig, the same as long as the file stays as it is; raises OSError."""
    return _reads(kubeconfig, kubeconfig.stat().st_mtime_ns)


def answer(kubeconfig: Path, arguments: Sequence[str]) -> dict[str, Any] | None:
    """Returns what `kubectl get ARGUMENTS -o json` would print; None if kubectl has to be asked."""
    try:
        found = reads(kubeconfig)
    except (OSError, ConfigException):
        return None
    return found.answer(arguments)


@functools.cache
def _reads(kubeconfig: Path, _changed: int) -> ObjectsRead:
    return ObjectsRead(new_client_from_config(str(kubeconfig)))


def _question(arguments: Sequence[str]) -> _Question | None:
    """Returns the question; None for one with flags or forms that are not known here."""
    words = iter(arguments)
    plain: list[str] = []
    question = _Question("")
    for word in words:
        if word == "-A":
            question.everywhere = True
        elif word in ("-n", "--namespace"):
            question.namespace = next(words, "")
        elif word == "-l":
            question.labels = next(words, "")
        elif word.startswith("-") or set(word) & set(",/"):
            return None
        else:
            plain.append(word)
    if not 1 <= len(plain) <= _MOST_WORDS:
        return None
    question.kind, question.name = (*plain, "")[:2]
    return question


def _kinds_by_name(discovered: Mapping[str, Any]) -> dict[str, _Kind]:
    """Returns the kinds by the names that kubectl takes. Of one name in two groups the first group has it, as with kubectl."""
    found: dict[str, _Kind] = {}
    for group in discovered["items"]:
        name = group["metadata"].get("name", "")
        # the version that is preferred comes first
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for one in version.get("resources", ()):
                if "responseKind" not in one:
                    continue
                kind = _Kind(
                    path=f"/apis/{api_version}" if name else f"/api/{api_version}",
                    api_version=api_version,
                    name=one["resource"],
                    kind=one["responseKind"]["kind"],
                    namespaced=one["scope"] == "Namespaced",
                )
                for called in (
                    one["resource"],
                    one.get("singularResource", ""),
                    *one.get("shortNames", ()),
                ):
                    found.setdefault(called, kind)
                    found.setdefault(f"{called}.{name}", kind)
    return found


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what kubectl does not show unless it is told to."""
    one["metadata"].pop("managedFields", None)
    return one
