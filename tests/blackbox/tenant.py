"""The suite's tenant: its keys, and documents with sensible defaults, sealed as the operator seals them."""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.documents import document_of

from relay_contract import leader_epoch
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
from relay_contract.isolation_probe import ProbeRequest, seal_request
from relay_contract.seal import seal

TENANT = "finance"
TENANT_UID = "0d9c6f52-6b1a-4f0e-9e0f-6f7f2f9e7a11"
KEY = f"{API_KEY_PREFIX}{TENANT}-production-3f9a"
OTHER_KEY = f"{API_KEY_PREFIX}{TENANT}-staging-77c1"
MODEL = "gpt-4.1"
MODELS = ("gpt-4.1", "gpt-4.1-mini", "text-embedding-3-small")
WIDE_QUEUE = Queue(concurrency=1000, max_depth=1000, max_wait_seconds=30)
"""Wide enough not to matter in tests about something else."""

_serial = itertools.count(1)


def api_key(name: str, secret: str, **fields: Any) -> ApiKey:
    """Returns a credential as the document holds it."""
    return ApiKey(name=name, sha256=hashlib.sha256(secret.encode()).hexdigest(), **fields)


def provider(name: str, url: str, **fields: Any) -> Provider:
    """Returns a provider with the usual models, whose key is in the file of its name."""
    defaults: dict[str, Any] = {
        "auth": ProviderAuth(key_file=name),
        "models": tuple(ProviderModel(name=model, upstream_name=model) for model in MODELS),
    }
    return Provider(name=name, url=url, **{**defaults, **fields})


def side(provider_name: str, model: str | None = None) -> Side:
    """Returns a side with a new fingerprint, so that no breaker or counter of another test applies."""
    digest = hashlib.sha256(f"{provider_name}/{model}/{next(_serial)}".encode()).hexdigest()
    return Side(provider=provider_name, model=model, fingerprint=digest[:12])


def route(stable: str | Side = "stable", canary: str | Side | None = None, **fields: Any) -> Route:
    """Returns a route with a new name; sides can be given as the name of their provider."""
    fields.setdefault("name", f"route-{next(_serial)}")
    return Route(
        stable=side(stable) if isinstance(stable, str) else stable,
        canary=side(canary) if isinstance(canary, str) else canary,
        **fields,
    )


class Signer:
    """Signs and numbers documents, as the operator does."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.generation = 0

    @property
    def public_key(self) -> str:
        """Returns the public key for RELAY_DOCUMENT_PUBLIC_KEYS."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def document(
        self, *, providers: Iterable[Provider], routes: Iterable[Route], **fields: Any
    ) -> Document:
        """Returns the next generation of the tenant's document."""
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
        """Returns the document's signed envelope."""
        return seal(document, self._key)

    def leader(self, epoch: int) -> str:
        """Returns what the leader of this number shows of itself."""
        return leader_epoch.show(epoch, self._key)

    def sealed_probe(self, request: ProbeRequest) -> str:
        """Returns the signed request for a probe of isolation."""
        return seal_request(request, self._key)

    def sealed_text(self, payload: str) -> str:
        """Returns a correctly signed envelope around any text."""
        signature = base64.b64encode(self._key.sign(payload.encode())).decode()
        return json.dumps({"payload": payload, "signature": signature})


class Platform:
    """Composes documents for running providers, given by name and URL."""

    def __init__(self, signer: Signer, urls: Mapping[str, str]) -> None:
        self.signer = signer
        self._urls = urls

    def providers(self, **fields: Any) -> list[Provider]:
        """Returns all providers; fields apply to each."""
        return [provider(name, url, **fields) for name, url in self._urls.items()]

    def document(self, **fields: Any) -> Document:
        """Returns the next document: every provider and one route to stable, unless fields say otherwise."""
        fields.setdefault("providers", self.providers())
        fields.setdefault("routes", [route()])
        return self.signer.document(**fields)
