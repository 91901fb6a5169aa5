"""The operator's signing key in its Secret, and how entries of Secrets are read. No value is ever logged."""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.errors import Conflict, SigningKeyUnusable, Unavailable

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


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


async def settled_signing_key(
    api: ApiServer, *, namespace: str, may_make: Callable[[], bool], stop: asyncio.Event
) -> Ed25519PrivateKey | None:
    """Returns the signing key once there is one, or once this operator may make it; None when told to stop before."""
    while not stop.is_set():
        try:
            secret = await api.get("Secret", names.SIGNING_KEY_SECRET, namespace=namespace)
            if secret is not None or may_make():
                return await signing_key(api, namespace=namespace)
        except Unavailable as error:
            logger.warning("signing key not read, will retry", extra={"why": str(error)})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.wait()
    return None


async def is_signing_key(api: ApiServer, key: Ed25519PrivateKey, *, namespace: str) -> bool:
    """Tells whether this is still the key in the Secret: a former leader may have made another one."""
    secret = await api.get("Secret", names.SIGNING_KEY_SECRET, namespace=namespace)
    if secret is None:
        return False
    return _signing_key_of(secret, namespace).private_bytes_raw() == key.private_bytes_raw()


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


def decode(secret: Manifest | None) -> Mapping[str, str]:
    """Returns a Secret's entries as text, without those that are none; empty for no Secret."""
    entries = {}
    for name, value in ((secret or {}).get("data") or {}).items():
        with suppress(UnicodeDecodeError):
            entries[name] = base64.b64decode(value).decode()
    return entries
