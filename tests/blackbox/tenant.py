"""The tenant the suite plays: its keys, and documents with sensible defaults, sealed as the operator would."""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.documents import document_of

from relay_contract.document import (
    API_KEY_PREFIX,
    ApiKey,
    Document,
    Provider,
    ProviderAuth,
    ProviderModel,
    Queue,
    Route,
    Side,
)
from relay_contract.seal import seal

TENANT = "finance"
TENANT_UID = "0d9c6f52-6b1a-4f0e-9e0f-6f7f2f9e7a11"
KEY = f"{API_KEY_PREFIX}{TENANT}-production-3f9a"
OTHER_KEY = f"{API_KEY_PREFIX}{TENANT}-staging-77c1"
MODEL = "gpt-4.1"
MODELS = ("gpt-4.1", "gpt-4.1-mini", "text-embedding-3-small")
WIDE_QUEUE = Queue(concurrency=1000, max_depth=1000, max_wait_seconds=30)
"""Out of the way of tests about something else."""

_serial = itertools.count(1)


def api_key(name: str, secret: str, **fields: Any) -> ApiKey:
    """A credential as the document holds it."""
    return ApiKey(name=name, sha256=hashlib.sha256(secret.encode()).hexdigest(), **fields)


def provider(name: str, url: str, **fields: Any) -> Provider:
    """An upstream with the usual catalogue; its key lies in a file of its own name."""
    defaults: dict[str, Any] = {
        "auth": ProviderAuth(key_file=name),
        "models": tuple(ProviderModel(name=model, upstream_name=model) for model in MODELS),
    }
    return Provider(name=name, url=url, **{**defaults, **fields})


def side(provider_name: str, model: str | None = None) -> Side:
    """A destination; its fingerprint is new each time, so no breaker or counter of another test applies."""
    digest = hashlib.sha256(f"{provider_name}/{model}/{next(_serial)}".encode()).hexdigest()
    return Side(provider=provider_name, model=model, fingerprint=digest[:12])


def route(stable: str | Side = "stable", canary: str | Side | None = None, **fields: Any) -> Route:
    """A route under a name nobody used before; sides may be named by their provider alone."""
    fields.setdefault("name", f"route-{next(_serial)}")
    return Route(
        stable=side(stable) if isinstance(stable, str) else stable,
        canary=side(canary) if isinstance(canary, str) else canary,
        **fields,
    )


class Signer:
    """Holds the signing key and the generation, as the operator does."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.generation = 0

    @property
    def public_key(self) -> str:
        """For RELAY_DOCUMENT_PUBLIC_KEYS."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def document(
        self, *, providers: Iterable[Provider], routes: Iterable[Route], **fields: Any
    ) -> Document:
        """The next generation of the tenant's document."""
        self.generation += 1
        defaults: dict[str, Any] = {
            "name": TENANT,
            "uid": TENANT_UID,
            "namespace": f"relay-{TENANT}",
            "tier": "premium",
            "generation": self.generation,
            "keys": (api_key("production", KEY), api_key("staging", OTHER_KEY, priority="low")),
            "queue": WIDE_QUEUE,
        }
        return document_of(
            providers=tuple(providers), routes=tuple(routes), **{**defaults, **fields}
        )

    def sealed(self, document: Document) -> str:
        """The envelope."""
        return seal(document, self._key)

    def sealed_text(self, payload: str) -> str:
        """An envelope around any text, truly signed."""
        signature = base64.b64encode(self._key.sign(payload.encode())).decode()
        return json.dumps({"payload": payload, "signature": signature})


class Platform:
    """Composes documents for running providers, given by name and URL."""

    def __init__(self, signer: Signer, urls: Mapping[str, str]) -> None:
        self.signer = signer
        self._urls = urls

    def providers(self, **fields: Any) -> list[Provider]:
        """All of them; fields apply to each."""
        return [provider(name, url, **fields) for name, url in self._urls.items()]

    def document(self, **fields: Any) -> Document:
        """The next document: every provider and one route to stable, unless fields say otherwise."""
        fields.setdefault("providers", self.providers())
        fields.setdefault("routes", [route()])
        return self.signer.document(**fields)
