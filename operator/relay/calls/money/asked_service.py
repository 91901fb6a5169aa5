"""Reads from a call what changes the price of its tokens: the service tier, a faster one, and sound.

Sources: OpenAI's reference of `service_tier` (absent or `auto`: what the project is set to), Anthropic's of `service_tier` (`auto` takes the priority
tier where there is capacity) and `speed`.
"""

from typing import Final

from relay.dialect.body_fields import Span
from relay.dialect.body_scan import members, string_at
from relay.dialect.request_body import CallBody
from relay_contract.billing.service_tiers import STANDARD, normal_tier

FAST: Final = "fast"
"""A tier that a provider serves where `speed` asks for it, and never else."""
_TIER: Final = "service_tier"
_SPEED: Final = "speed"
_ANY_TIER: Final = frozenset({"auto", ""})
_STANDARD_ONLY: Final = frozenset({"default", "standard", "standard_only"})
_SOUND: Final = frozenset({"audio", "modalities"})
_NAMES: Final = frozenset({_TIER, _SPEED}) | _SOUND
_MAX_CHARACTERS: Final = 64


class AskedService:
    """tier is what the call names, None where it may be served in any; may_be_fast and sound say that it asks for that, or may."""

    __slots__ = ("may_be_fast", "sound", "tier")

    def __init__(self, *, tier: str | None, may_be_fast: bool, sound: bool) -> None:
        self.tier = tier
        self.may_be_fast = may_be_fast
        self.sound = sound

    def may_be_served_in(self, tier: str) -> bool:
        """Tells whether a provider may serve the call in this tier. It may always take the standard one instead of what is asked."""
        if tier == FAST:
            return self.may_be_fast
        return self.tier is None or tier in (self.tier, STANDARD)


ANYTHING: Final = AskedService(tier=None, may_be_fast=True, sound=True)


def asked_service(body: CallBody) -> AskedService:
    """Reads what a body asks for. What cannot be read, or stands twice, may be anything."""
    raw = body.raw
    places = members(raw)
    if places is None:
        return ANYTHING
    found: dict[str, Span] = {}
    for place in range(0, len(places), 2):
        name = string_at(raw, places[place], _MAX_CHARACTERS)
        if name not in _NAMES:
            continue
        if name in found:
            return ANYTHING
        found[name] = places[place + 1]
    speed = _word(raw, found.get(_SPEED))
    return AskedService(
        tier=_tier(_word(raw, found.get(_TIER))),
        may_be_fast=_SPEED in found and speed not in _STANDARD_ONLY,
        sound=not _SOUND.isdisjoint(found),
    )


def _word(raw: bytes, span: Span | None) -> str:
    return "" if span is None else (string_at(raw, span, _MAX_CHARACTERS) or "").lower()


def _tier(asked: str) -> str | None:
    if asked in _ANY_TIER:
        return None
    return STANDARD if asked in _STANDARD_ONLY else normal_tier(asked)
