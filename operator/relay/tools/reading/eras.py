"""The two eras of the protocol: with sessions, and without, where each request says what it is."""

from enum import Enum
from typing import Final


class Era(Enum):
    """How a message is to be read. The revision 2026-07-28 began the modern era."""

    LEGACY = "legacy"
    MODERN = "modern"


MODERN_VERSION: Final = "2026-07-28"
ERAS: Final = {
    MODERN_VERSION: Era.MODERN,
    "2025-11-25": Era.LEGACY,
    "2025-06-18": Era.LEGACY,
}
"""The revisions that are read, newest first. Older ones allow batches."""
