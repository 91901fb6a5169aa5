"""A price list as an object for `kubectl apply`: a PriceList, or the models of a Provider with their prices.

What the kind has no room for is left out and named, never cut short: a model with half of its prices would be priced wrongly.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from relay_ledger.money.amounts import MAX_UNIT_PRICE_MICRO
from relay_ledger.prices.names import API_VERSION
from relay_ledger.prices.price_file import entry_content
from relay_ledger.prices.price_list import InvalidPrices, PriceEntry, PriceList

Kind = Literal["PriceList", "Provider"]
_MOST_MODELS: Final[Mapping[Kind, int]] = {"PriceList": 256, "Provider": 128}
_MOST_PRICES: Final[Mapping[Kind, int]] = {"PriceList": 12, "Provider": 16}
_MOST_ALIASES: Final = 16
"""Bounds of the custom resource definitions; a test holds them to those."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MODEL: Final = re.compile(r"[!-~]{1,128}")
_TIME: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")


@dataclass(frozen=True, slots=True)
class PriceObject:
    """An object, and what of its list is not in it: a sentence for each model."""

    content: dict[str, Any]
    left_out: tuple[str, ...]

    def yaml(self, comments: Sequence[str] = ()) -> str:
        """Writes the object, below comments and what was left out."""
        remarks = [*comments, *(f"left out: {one}" for one in self.left_out)]
        head = "".join(f"# {' '.join(remark.split())}\n" for remark in remarks)
        return head + yaml.dump(self.content, sort_keys=False, allow_unicode=True, width=120)


def price_list_object(prices: PriceList) -> PriceObject:
    """Returns a PriceList with each name of a model on its own, as calls are looked up by it; raises InvalidPrices for a name of none."""
    left_out = _LeftOut()
    models = [
        {"name": name, "prices": found}
        for name, entries in sorted(prices.by_model.items())
        if (found := _prices("PriceList", name, entries, left_out)) is not None
    ]
    spec = {"currency": "USD", "models": _as_many("PriceList", models, left_out)}
    return _object("PriceList", prices.name, spec, left_out)


def provider_object(prices: PriceList, *, url: str | None = None) -> PriceObject:
    """Returns the models of a Provider, each with the further names that it answers as. url is its endpoint, which an object needs that is new.

    Without it this is a part of a Provider that there is. Raises InvalidPrices for a name of none.
    """
    left_out = _LeftOut()
    models: list[dict[str, Any]] = []
    alike: dict[frozenset[str], list[PriceEntry]] = {}
    for entry in prices.entries:
        alike.setdefault(entry.models, []).append(entry)
    for names, entries in alike.items():
        first, *others = sorted(names, key=lambda name: (len(name), name))
        found = _prices("Provider", first, entries, left_out)
        if found is None:
            continue
        if len(others) > _MOST_ALIASES:
            left_out.add(
                f"{first}: {len(others)} further names are more than {_MOST_ALIASES}: add it by hand"
            )
            continue
        models.append({"name": first, "prices": found} | ({"answersAs": others} if others else {}))
    endpoint = {} if url is None else {"endpoint": {"url": url}}
    spec = {**endpoint, "models": _as_many("Provider", models, left_out)}
    return _object("Provider", prices.name, spec, left_out)


@dataclass(slots=True)
class _LeftOut:
    told: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        if sentence not in self.told:
            self.told.append(sentence)


def _object(kind: Kind, name: str, spec: dict[str, Any], left_out: _LeftOut) -> PriceObject:
    if _NAME.fullmatch(name) is None:
        raise InvalidPrices(
            f"{name[:80]!r} is no name of a {kind}: lower-case letters, digits and dashes, 63 at most; give --name"
        )
    if not spec["models"]:
        raise InvalidPrices(
            f"no model is left that a {kind} can hold: {'; '.join(left_out.told)[:400]}"
        )
    content = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return PriceObject(content, tuple(left_out.told))


def _as_many(kind: Kind, models: list[dict[str, Any]], left_out: _LeftOut) -> list[dict[str, Any]]:
    most = _MOST_MODELS[kind]
    for model in models[most:]:
        left_out.add(
            f"{model['name']}: a {kind} holds {most} models; name those that you need by --model"
        )
    return models[:most]


def _prices(
    kind: Kind, name: str, entries: Sequence[PriceEntry], left_out: _LeftOut
) -> list[dict[str, Any]] | None:
    """Returns all prices of a model, None if the kind cannot hold every one of them."""
    if _MODEL.fullmatch(name) is None:
        left_out.add(f"{name[:128]}: a name has 1 to 128 characters of ASCII, without spaces")
        return None
    if len(entries) > _MOST_PRICES[kind]:
        left_out.add(
            f"{name}: {len(entries)} prices are more than the {_MOST_PRICES[kind]} of a model"
        )
        return None
    for entry in entries:
        wrong = _what_is_wrong(entry)
        if wrong:
            left_out.add(f"{name}: {wrong}")
            return None
    return [_price(entry) for entry in entries]


def _what_is_wrong(entry: PriceEntry) -> str:
    content = entry_content(entry)
    if any(micro > MAX_UNIT_PRICE_MICRO for micro in entry.pieces.values()):
        return "a price of more than 100 USD for one piece"
    if any(_TIME.fullmatch(content[one]) is None for one in ("from", "until") if one in content):
        return "a time that is none of this century, or of parts of a second"
    return ""


def _price(entry: PriceEntry) -> dict[str, Any]:
    content = entry_content(entry)
    times = {one: _moment(text) for one, text in _only(content, ("from", "until")).items()}
    kept = _only(content, ("serviceTier", "region", "aboveInputTokens", "hours"))
    amounts = {"perMillionTokens": content["prices"]}
    amounts |= _only(content, ("perPiece", "source", "checkedAt"))
    return {**times, **kept, **amounts}


def _only(content: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: content[name] for name in names if name in content}


def _moment(text: str) -> str:
    """Returns a time as a custom resource has it: a day begins at midnight of UTC."""
    return text if "T" in text else f"{text}T00:00:00Z"
