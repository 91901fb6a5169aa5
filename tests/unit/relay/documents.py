"""A small, whole document, and the keys around it."""

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.documents import document_of

from relay_contract.document import (
    ApiKey,
    Document,
    Provider,
    ProviderAuth,
    ProviderModel,
    Route,
    Side,
)

PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
API_KEY = "sk-relay-finance-0123456789abcdef"
STAGING_KEY = "sk-relay-finance-fedcba9876543210"
STABLE = Side(provider="legacy", fingerprint="aaaaaaaaaaaa")
CANARY = Side(provider="holysheep", fingerprint="bbbbbbbbbbbb")
BACKUP = Side(provider="backup", fingerprint="cccccccccccc")


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def provider(name: str, **changes: Any) -> Provider:
    fields: dict[str, Any] = {
        "name": name,
        "url": f"http://{name}.test/v1",
        "auth": ProviderAuth(),
        "models": (ProviderModel(name="gpt-4.1", upstream_name="gpt-4.1"),),
    }
    return Provider(**(fields | changes))


def document(**changes: Any) -> Document:
    """Tenant finance with two keys, three providers without keys of their own, and one route for everything."""
    fields: dict[str, Any] = {
        "name": "finance",
        "uid": "uid-1",
        "namespace": "relay-finance",
        "tier": "premium",
        "generation": 1,
        "keys": (
            ApiKey(name="production", sha256=sha256(API_KEY), priority="high"),
            ApiKey(name="staging", sha256=sha256(STAGING_KEY)),
        ),
        "providers": (provider("legacy"), provider("holysheep"), provider("backup")),
        "routes": (Route(name="chat", stable=STABLE, canary=CANARY),),
    }
    return document_of(**(fields | changes))
