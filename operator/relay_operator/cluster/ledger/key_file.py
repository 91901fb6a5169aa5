"""The file of keys that the operator shares with the ledger, as the Secret is mounted."""

import logging
from pathlib import Path

from relay_contract.billing.ledger_token import (
    MAX_KEY_FILE_BYTES,
    LedgerKeys,
    UnusableKeys,
    read_keys,
)

logger = logging.getLogger(__name__)


class KeyFile:
    """Reads the file anew each time it has changed; what cannot be used leaves the keys that were in it, and is logged once."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int] | None = None
        self._keys: LedgerKeys | None = None
        self._told = ""

    def keys(self) -> LedgerKeys | None:
        """Returns the keys in force, None as long as there were none."""
        try:
            stat = self._path.stat()
            seen = stat.st_mtime_ns, stat.st_ino
            if seen != self._seen:
                self._keys = self._read(stat.st_size)
                self._seen = seen
                self._told = ""
        except (OSError, UnicodeDecodeError, UnusableKeys) as error:
            self._tell(error)
        return self._keys

    def _read(self, size: int) -> LedgerKeys:
        if size > MAX_KEY_FILE_BYTES:
            raise UnusableKeys(f"{size} bytes are too many for keys")
        return read_keys(self._path.read_text(encoding="ascii"))

    def _tell(self, error: Exception) -> None:
        # the words of UnicodeDecodeError hold a part of the file
        why = "no ASCII" if isinstance(error, UnicodeDecodeError) else str(error)
        if why != self._told:
            self._told = why
            logger.warning(
                "the keys of the ledger's tokens cannot be read; those known before stay in force",
                extra={"file": str(self._path), "why": why},
            )
