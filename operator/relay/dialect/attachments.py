"""Finds what a body carries beside text: images, recordings and files in base64, whose tokens have nothing to do with their bytes.

A large body is looked at in at most a few thousand places: base64 has neither blanks nor marks, text does.
"""

import re
from typing import Final

from relay.dialect.body_scan import base64_at

SMALL_BYTES: Final = 8 * 1024
"""Of a smaller body everything counts as text: a few thousand tokens at most."""
STRIDE_BYTES: Final = 4 * 1024
MOST_SAMPLES: Final = 4096
_KEY_BYTES: Final = 64
_CARRYING_KEY = re.compile(
    rb'"(?:url|image_url|video_url|image|audio|video|data|file_data|b64_json|image_base64|result'
    rb'|encrypted_content|signature|thought_signature)"[ \t\n\r]*+:[ \t\n\r]*+\Z'
)
"""Elsewhere a provider reads base64 as text, which has more tokens than words of that length. The last few are what agents send
back of earlier answers: generated images, and thoughts that only the provider can read."""
_IN_LIST = re.compile(rb"[\[,][ \t\n\r]*+\Z")
_DATA_URL = re.compile(rb'"data:[^",]{0,80};base64,')
"""In a list it is an image to be embedded, or of a video."""


def text_and_attachments(raw: bytes) -> tuple[int, int]:
    """Returns the bytes of a body without those of its attachments, and their number. raw is valid JSON.

    Attachments that are smaller than the distance between two samples may pass for text.
    """
    size = len(raw)
    if size <= SMALL_BYTES:
        return size, 0
    stride = max(STRIDE_BYTES, size // MOST_SAMPLES)
    attached = attachments = seen = 0
    place = base64_at(raw, stride, stride)
    while place >= 0:
        # once per string: the search starts at the end of the one before
        start = raw.rfind(b'"', seen, place)
        seen = raw.find(b'"', place)
        if seen < 0:
            break
        if start >= 0 and _is_carried(raw, start):
            attachments += 1
            attached += seen - start
        place = base64_at(raw, seen + stride, stride)
    return size - attached, attachments


def _is_carried(raw: bytes, start: int) -> bool:
    """Returns whether the string that starts there is the value of a field for attachments, or one of a list of them."""
    before = max(0, start - _KEY_BYTES)
    if _CARRYING_KEY.search(raw, before, start) is not None:
        return True
    return (
        _DATA_URL.match(raw, start) is not None and _IN_LIST.search(raw, before, start) is not None
    )
