"""Names of service tiers, as everybody who prices compares them."""

from typing import Final

STANDARD: Final = "standard"
_STANDARD_NAMES: Final = frozenset({"", "standard", "default", "auto", "on_demand"})


def normal_tier(name: str | None) -> str:
    """Returns the service tier; providers have several words for the usual one."""
    tier = (name or "").strip().lower()
    return STANDARD if tier in _STANDARD_NAMES else tier
