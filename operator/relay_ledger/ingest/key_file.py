"""The file of keys by which callers' tokens are verified, which may change at any time."""

from pathlib import Path

from relay_contract.billing.ledger_token import (
    MAX_KEY_FILE_BYTES,
    LedgerKeys,
    UnusableKeys,
    read_keys,
)


class KeyFile:
    """The keys in force. A file that cannot be read, or is no file of keys, leaves those that were in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: LedgerKeys | None = None

    def tenant_of(self, token: str) -> str | None:
        """Returns the UID of the tenant whose relays have this token, None if it is no tenant's."""
        return None if self._keys is None else self._keys.tenant_of(token)

    def is_operators(self, token: str) -> bool:
        """Returns whether this is the operator's token."""
        return self._keys is not None and self._keys.is_operators(token)

    def is_payments(self, token: str) -> bool:
        """Returns whether this is the token of payment systems."""
        return self._keys is not None and self._keys.is_payments(token)

    def refresh(self) -> str | None:
        """Looks for another content; returns a sentence if it cannot be used, without anything that is in it."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen == self._seen:
                return None
            if stat.st_size > MAX_KEY_FILE_BYTES:
                raise UnusableKeys(f"{stat.st_size} bytes are too many for keys")
            self._keys = read_keys(self._path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError, UnusableKeys) as error:
            return self._problem(error)
        self._seen = seen
        return None

    def _problem(self, error: Exception) -> str:
        match error:
            case OSError():
                said = error.strerror or type(error).__name__
            case UnicodeDecodeError():
                said = "a key has ASCII characters alone"
            case _:
                said = str(error)
        state = (
            "no caller is let in" if self._keys is None else "the keys known before stay in force"
        )
        return f"{self._path}: {said}; {state}"
