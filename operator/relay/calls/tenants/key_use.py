"""The last use of an API key, by time alone."""

from typing import Final

from relay.accounting.metric_catalogue import Labels

LAST_USED: Final = "relay_api_key_last_used_timestamp_seconds"


class KeyUse:
    """Holds the moment of the key's last request, in monotonic seconds; below 0 while none has."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1.0

    def seen(self, *, wall: float, now: float) -> int:
        """Returns that time in seconds since the epoch, 0 while there was none; wall and now are this moment."""
        return int(wall - (now - self.at)) if self.at >= 0.0 else 0


def labels(name: str, *, is_previous: bool) -> Labels:
    """Returns the labels of a key's series."""
    return name, "previous" if is_previous else "current"
