"""Reads objects from the API server over a connection that is kept: a process of kubectl for each look costs ten times the look.

Whatever it does not know, kubectl is asked; so are questions that the API server refuses, which it answers in its own words.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException, new_client_from_config
from tests.cluster.session import served_kinds
from tests.cluster.session.served_kinds import ServedKind
from urllib3.exceptions import HTTPError

_SECONDS: Final = (5.0, 30.0)
"""For the connection and for the answer."""
_MOST_WORDS: Final = 2
"""Kind and name."""


@dataclass(slots=True)
class _Question:
    """Holds the arguments of `kubectl get`. name is empty for all objects of the kind."""

    kind: str
    name: str = ""
    namespace: str = "default"
    labels: str = ""
    everywhere: bool = False


@dataclass(slots=True)
class ObjectsRead:
    """One API server, as a kubeconfig describes it."""

    client: ApiClient
    _kinds: dict[str, ServedKind] = field(default_factory=dict)

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

    def _kind(self, name: str) -> ServedKind | None:
        if name not in self._kinds:
            answers = (self._get(root, accept=served_kinds.ACCEPTED) for root in served_kinds.ROOTS)
            self._kinds = _by_name(kind for one in answers for kind in served_kinds.served(one))
        return self._kinds.get(name)

    def _read(self, kind: ServedKind, question: _Question) -> dict[str, Any]:
        space = "" if question.everywhere else quote(question.namespace)
        if question.name:
            return _shown(self._get(kind.path(space, quote(question.name))))
        labels = {"labelSelector": question.labels} if question.labels else {}
        found = self._get(kind.path(space), labels)
        named = {"apiVersion": kind.version, "kind": kind.kind}
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


def _by_name(kinds: Iterable[ServedKind]) -> dict[str, ServedKind]:
    """Returns the kinds by the names that kubectl takes. Of one name in two groups the first group has it, as with kubectl."""
    found: dict[str, ServedKind] = {}
    for kind in kinds:
        for called in (kind.plural, kind.singular, *kind.short):
            found.setdefault(called, kind)
            found.setdefault(f"{called}.{kind.group}", kind)
    return found


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what kubectl does not show unless it is told to."""
    one["metadata"].pop("managedFields", None)
    return one
