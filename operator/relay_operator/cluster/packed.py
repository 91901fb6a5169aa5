"""Manifests and documents in memory, packed: an operator keeps a dozen for each tenant, and looks into few of them ever again."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

Manifest = dict[str, Any]

_WINDOW_BYTES = 32 * 1024
"""A dictionary beyond that is of no use to zlib."""
_LEVEL = 1
_LIKE_BYTES = 2 * 1024
"""Of a manifest that others of its kind can be told by: until there is one the longest so far is."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One manifest or text. The empty one stands for nothing."""

    data: bytes = b""
    like: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.data)

    def text(self) -> str:
        """Returns the text, or that of the manifest."""
        return zlib.decompressobj(zdict=self.like).decompress(self.data).decode()

    def manifest(self) -> Manifest:
        """Returns the manifest."""
        found: Manifest = json.loads(self.text())
        return found


class Packer:
    """Packs each of them as what differs from an early one of its kind: those of all tenants are much alike."""

    def __init__(self) -> None:
        self._like: dict[str, bytes] = {}

    def pack(self, manifest: Manifest, *, kind: str) -> Packed:
        """Returns the manifest, packed."""
        return self.pack_text(json.dumps(manifest, separators=(",", ":")), kind=kind)

    def pack_text(self, text: str, *, kind: str) -> Packed:
        """Returns the text, packed."""
        data = text.encode()
        like = self._like.get(kind, b"")
        if len(like) < _LIKE_BYTES and len(data) > 2 * len(like):
            # a status begins with next to nothing, which no other is like
            like = self._like[kind] = data[:_WINDOW_BYTES]
        packing = zlib.compressobj(_LEVEL, zdict=like)
        return Packed(packing.compress(data) + packing.flush(), like)


def digest(manifest: Manifest) -> bytes:
    """Identifies what a manifest says, in whatever order."""
    try:
        text = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # of integers it knows 64 bits
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(text, digest_size=16).digest()
