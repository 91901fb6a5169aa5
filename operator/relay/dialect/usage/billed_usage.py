"""Tokens of an answer in disjoint buckets, as far as a provider's usage object can be believed to the token."""

import struct
from typing import Any, Final

from relay_contract.billing.attempt_event import Doubt
from relay_contract.billing.token_buckets import MAX_TOKENS, MAX_UNITS

NO_COUNT: Final = -1
"""Stands for a number that is none."""
PACKED: Final = struct.Struct("<9IHH?")
"""Tokens and units in the order of relay_contract.billing.token_buckets, and whether the provider told of its cache."""
_PACKED_BYTES: Final = 41
_LABELS_START: Final = _PACKED_BYTES + 2
# looked up once, since many attempts need it
_pack: Final = PACKED.pack


class BilledUsage:
    """Tokens by bucket (relay_contract.billing.token_buckets) and what is billed by the piece.

    cache_reported says that the provider told of its cache, if only that nothing came from it. service_tier and region
    are as served, None where the usage does not tell.
    """

    __slots__ = (
        "audio_input",
        "audio_output",
        "cache_read",
        "cache_reported",
        "cache_write",
        "cache_write_hour",
        "input",
        "output",
        "reasoning",
        "region",
        "service_tier",
        "web_fetch",
        "web_search",
    )

    def __init__(
        self,
        *,
        input: int,  # noqa: A002 - the bucket's name
        output: int = 0,
        reasoning: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        cache_write_hour: int = 0,
        audio_input: int = 0,
        audio_output: int = 0,
        web_search: int = 0,
        web_fetch: int = 0,
        cache_reported: bool = True,
        service_tier: str | None = None,
        region: str | None = None,
    ) -> None:
        self.input = input
        self.output = output
        self.reasoning = reasoning
        self.cache_read = cache_read
        self.cache_write = cache_write
        self.cache_write_hour = cache_write_hour
        self.audio_input = audio_input
        self.audio_output = audio_output
        self.web_search = web_search
        self.web_fetch = web_fetch
        self.cache_reported = cache_reported
        self.service_tier = service_tier
        self.region = region

    def with_tokens_of(self, other: "BilledUsage") -> "BilledUsage":
        """Returns a usage with the tokens of both, and what else this one tells."""
        return BilledUsage(
            input=self.input + other.input,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cache_write_hour=self.cache_write_hour + other.cache_write_hour,
            audio_input=self.audio_input + other.audio_input,
            audio_output=self.audio_output + other.audio_output,
            web_search=self.web_search,
            web_fetch=self.web_fetch,
            cache_reported=self.cache_reported and other.cache_reported,
            service_tier=self.service_tier,
            region=self.region,
        )

    def packed(self) -> bytes:
        """Returns the counts as a record holds them; raises struct.error for counts that are in doubt."""
        return _pack(
            self.input,
            self.cache_read,
            self.cache_write,
            self.cache_write_hour,
            self.output,
            self.reasoning,
            self.audio_input,
            self.audio_output,
            # no dialect counts apart what tools put before the model
            0,
            self.web_search,
            self.web_fetch,
            self.cache_reported,
        )

    def doubt(self) -> Doubt | None:
        """Returns why these counts are impossible, None if they are not."""
        # spelled out: every call comes here, and a tuple for `min` and `sum` takes ten times as long
        read, written, hour = self.cache_read, self.cache_write, self.cache_write_hour
        heard, spoken = self.audio_input, self.audio_output
        everything = self.input + read + written + hour + heard
        everything += self.output + self.reasoning + spoken
        signs = self.input | read | written | hour | heard | self.output | self.reasoning | spoken
        if signs < 0:
            return "negative"
        return "range" if everything > MAX_TOKENS else None


def counts_of(usage: BilledUsage | bytes) -> tuple[int, ...]:
    """Returns tokens and units in their order, of a usage that is in no doubt, or is packed, or of a report."""
    packed = usage if isinstance(usage, bytes) else usage.packed()
    return PACKED.unpack(packed[:_PACKED_BYTES])[:-1]


def labels_of(packed: bytes) -> tuple[bytes, bytes] | None:
    """Returns the model and the service tier that a report tells of, empty where it does not; None for counts alone.

    A report is what an answer says that is like most (relay.dialect.body_scan.plain_answer): the counts as they are packed, a byte
    for the length of each label, and the labels in UTF-8. Raises ValueError for what is neither.
    """
    size = len(packed)
    if size == _PACKED_BYTES:
        return None
    if size >= _LABELS_START:
        middle = _LABELS_START + packed[_PACKED_BYTES]
        if size == middle + packed[_PACKED_BYTES + 1]:
            return packed[_LABELS_START:middle], packed[middle:]
    raise ValueError(f"{size} bytes are no counts")


Reading = BilledUsage | Doubt | None
"""The buckets, or why the usage is not to be taken as it is; None where nothing was reported, which is not zero."""


def count(fields: dict[str, Any], name: str) -> int | None:
    """Returns a count, NO_COUNT for what is none, None for what is absent or null. JSON does not tell 12 from 12.0."""
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else NO_COUNT


def part(fields: object, name: str) -> int:
    """Returns a count that is 0 where it is absent, and NO_COUNT for what is none."""
    if fields is None:
        return 0
    if not isinstance(fields, dict):
        return NO_COUNT
    value = count(fields, name)
    return 0 if value is None else value


def units(fields: object, name: str) -> int:
    """Returns a number of pieces, NO_COUNT for what is none."""
    number = part(fields, name)
    return number if number <= MAX_UNITS else NO_COUNT


def word(fields: dict[str, Any], name: str) -> str | None:
    """Returns a text of at most 64 characters, None for anything else."""
    value = fields.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 64 else None
