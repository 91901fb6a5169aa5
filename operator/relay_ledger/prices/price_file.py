"""A price list as YAML, read strictly: amounts are quoted, nothing is repeated, nothing is ignored."""

import json
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from relay_contract.billing.service_tiers import normal_tier
from relay_contract.billing.token_buckets import MAX_TOKENS, Bucket
from relay_contract.tools.manifest import ServerName
from relay_contract.tools.patterns import NamePattern
from relay_ledger.money.amounts import (
    HIGHEST_MARKUP,
    MAX_PRICE_MICRO,
    MAX_UNIT_PRICE_MICRO,
    NotAnAmount,
    micro_usd,
    price_text,
)
from relay_ledger.prices.price_list import (
    DailyHours,
    InvalidPrices,
    PieceName,
    PriceEntry,
    PriceList,
    ToolPrice,
    normal_model,
)

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_MOST: Final = HIGHEST_MARKUP * MAX_PRICE_MICRO
_MOST_OF_A_PIECE: Final = HIGHEST_MARKUP * MAX_UNIT_PRICE_MICRO
BILLED_LIKE: Final[tuple[tuple[Bucket, Bucket], ...]] = (
    ("cache_read", "input"),
    ("cache_write", "input"),
    ("cache_write_hour", "cache_write"),
    ("tool_prompt", "input"),
    ("reasoning", "output"),
)
"""A bucket without a price of its own, and the one whose price it has: as providers bill it. Sound has no such price."""
_FIELDS: Final[Mapping[str, Bucket]] = {
    "input": "input",
    "cacheRead": "cache_read",
    "cacheWrite": "cache_write",
    "cacheWriteHour": "cache_write_hour",
    "output": "output",
    "reasoning": "reasoning",
    "audioInput": "audio_input",
    "audioOutput": "audio_output",
    "toolPrompt": "tool_prompt",
}
_PIECES: Final[Mapping[str, PieceName]] = {
    "webSearch": "web_search",
    "webFetch": "web_fetch",
    "call": "call",
}
_Key = TypeVar("_Key", Bucket, PieceName)
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
_Clock = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_Time = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z)?$")
]


_Source = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f@]+$")
]
"""Without an @, so that no URL brings a user name and password."""
_Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]


class _Form(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False
    )


class _Hours(_Form):
    start: _Clock
    end: _Clock

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same time; leave hours out for the whole day")
        return self


class _Entry(_Form):
    models: Annotated[list[_Name], Field(min_length=1, max_length=256)]
    provider: _Name | None = None
    service_tier: _Name = "standard"
    region: _Name | None = None
    above_input_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 0
    starts: Annotated[_Time | None, Field(alias="from")] = None
    until: _Time | None = None
    hours: _Hours | None = None
    prices: Annotated[dict[str, str], Field(min_length=1)]
    per_piece: dict[str, str] = {}
    source: _Source = ""
    checked_at: _Day = ""
    note: Annotated[str, StringConstraints(max_length=512)] = ""


class _Tools(_Form):
    server: ServerName | None = None
    tools: Annotated[list[NamePattern], Field(min_length=1, max_length=256)]
    starts: Annotated[_Time | None, Field(alias="from")] = None
    until: _Time | None = None
    per_call: str
    tool_errors: Literal["Billed", "Free"] = "Billed"
    source: _Source = ""
    checked_at: _Day = ""
    note: Annotated[str, StringConstraints(max_length=512)] = ""


class _File(_Form):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,125}[a-z0-9])?$")]
    currency: Literal["USD"]
    entries: Annotated[list[_Entry], Field(max_length=20_000)]
    tools: Annotated[list[_Tools], Field(max_length=20_000)] = []


class _StrictLoader(yaml.SafeLoader):
    """Refuses keys that are repeated, anchors and tags; a time stays text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise InvalidPrices(f"{key.value!r} stands twice, line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidPrices("a price list has no aliases: write each entry out")
        return super().compose_node(parent, index)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_price_list(text: str) -> PriceList:
    """Reads a price list; raises InvalidPrices, whose message names the field and what to do."""
    if len(text.encode()) > MAX_FILE_BYTES:
        raise InvalidPrices(f"more than {MAX_FILE_BYTES} bytes: divide the list")
    try:
        content = _content(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, InvalidPrices):
            raise
        raise InvalidPrices(f"no YAML: {' '.join(str(error).split())[:200]}") from None
    return price_list_of(content)


def _content(text: str) -> Any:
    if text.startswith("{"):
        # as the operator's book has it: JSON is YAML, and read in a hundredth of the time
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_unrepeated)
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that takes less


def _unrepeated(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields:
        if name in found:
            raise InvalidPrices(f"{name!r} stands twice")
        found[name] = value
    return found


def price_list_of(content: Any) -> PriceList:
    """Returns the price list of a file's content; raises InvalidPrices as read_price_list does."""
    try:
        form = _File.model_validate(content)
    except ValidationError as error:
        raise InvalidPrices(_problem(error)) from None
    entries = tuple(_entry(place, entry) for place, entry in enumerate(form.entries))
    tools = tuple(
        one for place, prices in enumerate(form.tools) for one in _tool_prices(place, prices)
    )
    return PriceList(form.name, entries, tools)


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    advice = "; write it in quotes" if first["type"] == "string_type" else ""
    return f"{place or 'the file'}: {first['msg'].removeprefix('Value error, ')}{advice}"


def _entry(place: int, form: _Entry) -> PriceEntry:
    where = f"entries.{place}"
    tokens = dict(_amounts(f"{where}.prices", form.prices, _FIELDS, _MOST))
    for bucket, like in BILLED_LIKE:
        if bucket not in tokens and like in tokens:
            tokens[bucket] = tokens[like]
    starts_at, ends_at = _span(where, form)
    hours = form.hours
    return PriceEntry(
        models=frozenset(normal_model(model) for model in form.models),
        provider=form.provider or "",
        tier=normal_tier(form.service_tier),
        region=form.region or "",
        above_input_tokens=form.above_input_tokens,
        starts_at=starts_at,
        ends_at=ends_at,
        hours=None if hours is None else DailyHours(_seconds(hours.start), _seconds(hours.end)),
        tokens=tokens,
        pieces=dict(_amounts(f"{where}.perPiece", form.per_piece, _PIECES, _MOST_OF_A_PIECE)),
        source=form.source,
        checked_at=_day(where, form),
    )


def _tool_prices(place: int, form: _Tools) -> Iterator[ToolPrice]:
    where = f"tools.{place}"
    micro = _amount(f"{where}.perCall", form.per_call, _MOST_OF_A_PIECE)
    starts_at, ends_at = _span(where, form)
    for pattern in form.tools:
        yield ToolPrice(
            server=form.server or "",
            pattern=pattern,
            starts_at=starts_at,
            ends_at=ends_at,
            call=micro,
            pays_errors=form.tool_errors == "Billed",
            source=form.source,
            checked_at=_day(where, form),
        )


def _span(where: str, form: _Entry | _Tools) -> tuple[int | None, int | None]:
    """Returns since when and up to when something holds."""
    starts_at, ends_at = _time(f"{where}.from", form.starts), _time(f"{where}.until", form.until)
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise InvalidPrices(f"{where}: until is not after from")
    return starts_at, ends_at


def _day(where: str, form: _Entry | _Tools) -> str:
    """Returns the day on which prices were checked, once it is known to be one."""
    if form.checked_at:
        _time(f"{where}.checkedAt", form.checked_at)
    return form.checked_at


def _amounts(
    where: str, amounts: Mapping[str, str], names: Mapping[str, _Key], most: int
) -> Iterator[tuple[_Key, int]]:
    for name, text in amounts.items():
        if name not in names:
            raise InvalidPrices(f"{where}.{name} is none of {', '.join(names)}")
        yield names[name], _amount(f"{where}.{name}", text, most)


def _amount(where: str, text: str, most: int) -> int:
    try:
        micro = micro_usd(text)
    except NotAnAmount as error:
        raise InvalidPrices(f"{where}: {error}") from None
    if micro > most:
        raise InvalidPrices(f"{where}: {text} is more than {price_text(most)} USD")
    return micro


def _time(where: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidPrices(f"{where}: there is no time {text}") from None
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _seconds(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 3600 + int(minute) * 60


def write_price_list(prices: PriceList, *, comments: tuple[str, ...] = ()) -> str:
    """Writes a list that read_price_list reads as the same, with comments before it."""
    content: dict[str, Any] = {
        "name": prices.name,
        "currency": "USD",
        "entries": [entry_content(entry) for entry in prices.entries],
    }
    if prices.tools:
        content["tools"] = [_tool_content(one) for one in prices.tools]
    head = "".join(f"# {comment}\n" for comment in comments)
    return head + yaml.dump(content, sort_keys=False, allow_unicode=True, width=120)


def entry_content(entry: PriceEntry) -> dict[str, Any]:
    """Returns the fields of an entry; amounts are text, and what a provider bills like something else stays out."""
    like = dict(BILLED_LIKE)
    own = {
        bucket: price
        for bucket, price in entry.tokens.items()
        if bucket not in like or price != entry.tokens.get(like[bucket])
    }
    hours = entry.hours
    content: dict[str, Any] = {
        "models": sorted(entry.models),
        "provider": entry.provider,
        "serviceTier": entry.tier,
        "region": entry.region,
        "aboveInputTokens": entry.above_input_tokens,
        "from": _time_text(entry.starts_at),
        "until": _time_text(entry.ends_at),
        "hours": None
        if hours is None
        else {"start": _clock(hours.start), "end": _clock(hours.end)},
        "prices": {
            name: price_text(own[bucket]) for name, bucket in _FIELDS.items() if bucket in own
        },
        "perPiece": {
            name: price_text(entry.pieces[piece])
            for name, piece in _PIECES.items()
            if piece in entry.pieces
        },
        "source": entry.source,
        "checkedAt": entry.checked_at,
    }
    return {
        name: value
        for name, value in content.items()
        if value and (name, value) != ("serviceTier", "standard")
    }


def _tool_content(price: ToolPrice) -> dict[str, Any]:
    content = {
        "server": price.server,
        "tools": [price.pattern],
        "from": _time_text(price.starts_at),
        "until": _time_text(price.ends_at),
        "perCall": price_text(price.call),
        "toolErrors": "" if price.pays_errors else "Free",
        "source": price.source,
        "checkedAt": price.checked_at,
    }
    return {name: value for name, value in content.items() if value}


def _time_text(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    seconds, micros = divmod(microseconds, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros, tzinfo=None)
    return moment.isoformat() + "Z" if moment.time() != datetime.min.time() else str(moment.date())


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"
