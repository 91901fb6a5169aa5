"""Keys in Secrets: the operator's signing key and the tenants' API keys. No value is ever logged."""

import base64
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract.document import API_KEY_PREFIX
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.errors import Conflict, SigningKeyUnusable
from relay_operator.manifests import credentials


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """A tenant's API keys by name, and what keeps others from being as its spec asks for; empty where nothing does."""

    values: dict[str, str]
    obstacle: str = ""


async def signing_key(api: ApiServer, *, namespace: str) -> Ed25519PrivateKey:
    """Reads the key that documents are signed with, from a Secret of the operator's namespace; makes it when missing."""
    while True:
        secret = await api.get("Secret", names.SIGNING_KEY_SECRET, namespace=namespace)
        if secret is not None:
            return _signing_key_of(secret, namespace)
        raw = Ed25519PrivateKey.generate().private_bytes_raw()
        try:
            await api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": names.SIGNING_KEY_SECRET,
                        "namespace": namespace,
                        "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
                    },
                    "type": "Opaque",
                    "data": {names.SIGNING_KEY_ENTRY: base64.b64encode(raw).decode()},
                }
            )
        except Conflict:
            continue


def _signing_key_of(secret: Manifest, namespace: str) -> Ed25519PrivateKey:
    value = (secret.get("data") or {}).get(names.SIGNING_KEY_ENTRY, "")
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(value))
    except ValueError as error:
        raise SigningKeyUnusable(
            f"entry {names.SIGNING_KEY_ENTRY} of Secret {namespace}/{names.SIGNING_KEY_SECRET} holds no Ed25519 key of "
            "32 bytes; restore it from a backup, or delete the Secret to have a new key made (relay pods are then "
            "rolled, and the last valid versions of specs that cannot be used are lost)"
        ) from error


def public_key_text(key: Ed25519PrivateKey) -> str:
    """Returns the public key as relays expect it in their environment (endpoints.ENV_DOCUMENT_PUBLIC_KEYS)."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


async def tenant_keys(
    api: ApiServer, tenant: Tenant, *, on_missing: Callable[[], None] = lambda: None
) -> ApiKeys:
    """Returns the tenant's API keys by name: existing ones kept, missing ones made, those no longer named removed.

    on_missing is called after the Secret had to be made, with new keys. A Secret that somebody made immutable is left as
    it is, with the keys in it: between its deletion and the next one's creation they could be lost.

    Two operators at once cannot both make keys: creation and change carry a precondition (Conflict).
    """
    namespace = names.tenant_namespace(tenant.metadata.name)
    secret = await api.get("Secret", names.API_KEYS_SECRET, namespace=namespace)
    existing = decode(secret)
    wanted = {
        key.name: existing.get(key.name) or new_key(tenant.metadata.name)
        for key in tenant.spec.api_keys
    }
    if secret is None:
        await api.create(credentials.api_keys(tenant, wanted))
        on_missing()
    elif wanted == existing:
        return ApiKeys(wanted)
    elif secret.get("immutable"):
        kept = {name: key for name, key in wanted.items() if existing.get(name) == key}
        return ApiKeys(kept, _obstacle(namespace, wanted, existing))
    else:
        manifest = credentials.api_keys(tenant, wanted)
        removed: dict[str, None] = dict.fromkeys(existing.keys() - wanted.keys())
        patch = {
            "metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]},
            "data": {**manifest["data"], **removed},
        }
        await api.patch("Secret", names.API_KEYS_SECRET, patch, namespace=namespace)
    return ApiKeys(wanted)


def _obstacle(namespace: str, wanted: Mapping[str, str], existing: Mapping[str, str]) -> str:
    """Tells which keys an immutable Secret keeps from being added or removed, and how a person gets on."""
    added = ", ".join(sorted(name for name in wanted if wanted[name] != existing.get(name)))
    removed = ", ".join(sorted(existing.keys() - wanted.keys()))
    found = [f"API key {added} cannot be added to it"] if added else []
    found += [f"{removed} cannot be removed from it, but is refused already"] if removed else []
    secret = names.API_KEYS_SECRET
    return (
        f"Secret {namespace}/{secret} is immutable: {'; '.join(found)}; its other keys stay in force. Save a copy of it, "
        f"then put it back without `immutable: true` (kubectl -n {namespace} get secret {secret} -o yaml > keys.yaml; "
        "take the line out; kubectl replace --force -f keys.yaml)"
    )


def new_key(tenant: str) -> str:
    """Makes an API key: a prefix that secret scanners can recognise, then 256 random bits."""
    return f"{API_KEY_PREFIX}{tenant}-{secrets.token_urlsafe(32)}"


def decode(secret: Manifest | None) -> Mapping[str, str]:
    """Returns a Secret's entries as text, without those that are none; empty for no Secret."""
    entries = {}
    for name, value in ((secret or {}).get("data") or {}).items():
        with suppress(UnicodeDecodeError):
            entries[name] = base64.b64decode(value).decode()
    return entries
