"""Reads bodies that a server compressed although it was asked not to (RFC 9110 section 8.4)."""

import zlib
from typing import Any, Final

MOST_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
"""What one read may inflate to; beyond it the rest is not read, since a few kB could fill the memory."""
MOST_MEMBERS_AT_ONCE: Final = 64
"""Of one read. Each copies what is behind it, so that a read full of empty ones would take the square of its size."""
_GZIP: Final = frozenset({b"gzip", b"x-gzip"})
_GZIP_BYTE: Final = 0x1F
_UNCHANGED: Final = (b"", b"identity")
_DEFLATE: Final = b"deflate"
_GZIP_HEADER: Final = zlib.MAX_WBITS | 16
_ZLIB_HEADER: Final = zlib.MAX_WBITS
_NO_HEADER: Final = -zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8
"""In the lower half of a zlib stream's first byte (RFC 1950 section 2.2)."""


def is_coded(content_encoding: bytes) -> bool:
    """Returns whether the field's value names a coding that changes the body."""
    return _coding(content_encoding) != b""


def _coding(content_encoding: bytes) -> bytes:
    """Returns the codings that the field lists, in lower case, but for those that change nothing."""
    codings = [coding.strip().lower() for coding in content_encoding.split(b",")]
    return b", ".join([coding for coding in codings if coding not in _UNCHANGED])


class Inflater:
    """Decodes a body as it arrives.

    readable is False where it is of another coding or more than can be read; broken says that nobody can decode it.
    """

    __slots__ = ("_ended", "_gzip", "_stream", "broken", "readable")

    def __init__(self, content_encoding: bytes) -> None:
        coding = _coding(content_encoding)
        self._gzip = coding in _GZIP
        self.readable = self._gzip or coding == _DEFLATE
        self.broken = self._ended = False
        self._stream: Any = None

    def feed(self, data: bytes) -> bytes:
        """Returns what can be decoded with these bytes; nothing once the body proved unreadable."""
        inflated = b""
        members = 0
        while data and self.readable and not self._ended:
            if self._stream is None:
                members += 1
                if members > MOST_MEMBERS_AT_ONCE:
                    self.readable = False
                    break
                self._stream = zlib.decompressobj(self._window_bits(data[0]))
            elif self._stream.eof:
                # another gzip member may follow (RFC 1952 section 2.2); anything else is ignored
                self._ended = not (self._gzip and data[0] == _GZIP_BYTE)
                self._stream = None
                continue
            try:
                inflated += self._stream.decompress(data, MOST_AT_ONCE_BYTES)
            except zlib.error:
                self.broken = True
                self.readable = False
                break
            if self._stream.unconsumed_tail or len(inflated) > MOST_AT_ONCE_BYTES:
                self.readable = False
            data = self._stream.unused_data
        return inflated

    def _window_bits(self, first_byte: int) -> int:
        """Returns how to read the stream: some servers send raw deflate data under the name deflate."""
        if self._gzip:
            return _GZIP_HEADER
        return _ZLIB_HEADER if first_byte & 0x0F == _ZLIB_METHOD else _NO_HEADER
