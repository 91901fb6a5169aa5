"""Tokens by which relays, the operator and payment systems show the ledger who they are: a name, and its HMAC under a key that operator and ledger share.

A relay has its token and not the key, so it can show no other tenant's. There is no list to keep in step: a tenant's token is known from
the moment there is the tenant. A file of keys holds one key a line. The first makes tokens, all of them verify: to change the key, put a
new one before the old, and take the old one away once every relay has a token of the new one.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

AUTHORIZATION_SCHEME: Final = "Bearer"
OPERATOR_NAME: Final = "operator"
PAYMENTS_NAME: Final = "payments"
MAX_KEYS: Final = 8
MAX_KEY_FILE_BYTES: Final = 4096
_KEY: Final = re.compile(r"[!-~]{32,256}")
_TENANT_UID: Final = re.compile(r"[0-9A-Za-z_-]{1,96}")
_TENANT_PURPOSE: Final = b"relay-ledger/1/tenant\n"
_OPERATOR_PURPOSE: Final = b"relay-ledger/1/operator\n"
_PAYMENTS_PURPOSE: Final = b"relay-ledger/1/payments\n"
"""What a key signs begins with its purpose, so that a tenant of that UID is not taken for the operator."""


class UnusableKeys(ValueError):
    """A file of keys that cannot be used; the message has none of its content."""


class LedgerKeys:
    """The keys of one file, the first of which makes tokens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise UnusableKeys(
                "there is no key in it; write one of 32 characters or more on a line"
            )
        self._keys = tuple(keys)

    def tenant_token(self, tenant_uid: str) -> str:
        """Returns the token of a tenant's relays; raises ValueError for what is no UID."""
        if _TENANT_UID.fullmatch(tenant_uid) is None:
            raise ValueError(f"{tenant_uid!r} is no UID of a Tenant")
        return f"{tenant_uid}.{_mac(self._keys[0], _TENANT_PURPOSE, tenant_uid)}"

    def operator_token(self) -> str:
        """Returns the operator's token."""
        return f"{OPERATOR_NAME}.{_mac(self._keys[0], _OPERATOR_PURPOSE, OPERATOR_NAME)}"

    def payments_token(self) -> str:
        """Returns the token of payment systems: it adds credit, and nothing else."""
        return f"{PAYMENTS_NAME}.{_mac(self._keys[0], _PAYMENTS_PURPOSE, PAYMENTS_NAME)}"

    def tenant_of(self, token: str) -> str | None:
        """Returns the UID of the tenant whose relays have this token, None if it is no tenant's."""
        tenant_uid, _, mac = token.partition(".")
        if _TENANT_UID.fullmatch(tenant_uid) is None:
            return None
        return tenant_uid if self._verifies(_TENANT_PURPOSE, tenant_uid, mac) else None

    def is_operators(self, token: str) -> bool:
        """Returns whether this is the operator's token."""
        name, _, mac = token.partition(".")
        return name == OPERATOR_NAME and self._verifies(_OPERATOR_PURPOSE, name, mac)

    def is_payments(self, token: str) -> bool:
        """Returns whether this is the token of payment systems."""
        name, _, mac = token.partition(".")
        return name == PAYMENTS_NAME and self._verifies(_PAYMENTS_PURPOSE, name, mac)

    def _verifies(self, purpose: bytes, name: str, mac: str) -> bool:
        # every key is tried, each in constant time: how long it takes tells nothing
        shown = mac.encode(errors="replace")
        matches = [
            hmac.compare_digest(_mac(key, purpose, name).encode(), shown) for key in self._keys
        ]
        return any(matches)


def read_keys(text: str) -> LedgerKeys:
    """Reads a file of keys, one a line; raises UnusableKeys."""
    keys = text.split()
    if len(keys) > MAX_KEYS:
        raise UnusableKeys(f"{len(keys)} keys are more than {MAX_KEYS}; take old ones away")
    for place, key in enumerate(keys):
        if _KEY.fullmatch(key) is None:
            raise UnusableKeys(
                f"line {place + 1}: a key is 32 to 256 characters of ASCII without spaces; it has {len(key)}"
            )
    return LedgerKeys([key.encode("ascii") for key in keys])


def _mac(key: bytes, purpose: bytes, name: str) -> str:
    return hmac.new(key, purpose + name.encode("ascii"), hashlib.sha256).hexdigest()
