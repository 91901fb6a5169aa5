"""The tokens of tenants' relays, known by digest alone, from a directory that may change at any time."""

import hashlib
import re
from pathlib import Path
from typing import Final

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TENANT: Final = re.compile(r"[0-9A-Za-z_-]{1,96}")
MAX_FILE_BYTES: Final = 4096


class TenantTokens:
    """Which tenant shows a token. A file that cannot be read keeps the tokens it had: the last good state stays in force."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, tuple[int, int, tuple[str, ...]]] = {}
        self._tenants: dict[str, str] = {}

    def tenant_of(self, token: str) -> str | None:
        """Returns the tenant's UID, None for a token that is nobody's. What is compared is a digest, so the time tells nothing."""
        return self._tenants.get(hashlib.sha256(token.encode()).hexdigest())

    def refresh(self) -> list[str]:
        """Looks for changes; returns sentences about files that cannot be used."""
        problems: list[str] = []
        files: dict[str, tuple[int, int, tuple[str, ...]]] = {}
        try:
            paths = sorted(self._directory.iterdir())
        except OSError as error:
            return [f"{self._directory}: {error.strerror}; the tokens known before stay in force"]
        for path in paths:
            if _TENANT.fullmatch(path.name) is None:
                # a mounted Secret has links of its own, which begin with a dot
                if not path.name.startswith("."):
                    problems.append(f"{path}: the name of a file is a tenant's UID")
                continue
            known = self._files.get(path.name)
            try:
                files[path.name] = _read(path, known)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
                if known is not None:
                    files[path.name] = known
        self._files = files
        self._tenants = _by_digest(files, problems)
        return problems


def _read(
    path: Path, known: tuple[int, int, tuple[str, ...]] | None
) -> tuple[int, int, tuple[str, ...]]:
    stat = path.stat()
    if known is not None and known[:2] == (stat.st_mtime_ns, stat.st_ino):
        return known
    if stat.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{stat.st_size} bytes are too many for digests of tokens")
    digests = tuple(path.read_text(encoding="ascii").split())
    if not all(_DIGEST.fullmatch(digest) for digest in digests):
        raise ValueError("every line is the SHA-256 digest of a token, 64 hexadecimal digits")
    return stat.st_mtime_ns, stat.st_ino, digests


def _by_digest(
    files: dict[str, tuple[int, int, tuple[str, ...]]], problems: list[str]
) -> dict[str, str]:
    """Returns the tenant of each digest. One that two tenants have is nobody's."""
    tenants: dict[str, str] = {}
    shared: set[str] = set()
    for tenant_uid, (_, _, digests) in files.items():
        for digest in digests:
            if tenants.setdefault(digest, tenant_uid) != tenant_uid:
                shared.add(digest)
                problems.append(f"a token is of {tenants[digest]} and {tenant_uid}: it is refused")
    return {digest: tenant for digest, tenant in tenants.items() if digest not in shared}
