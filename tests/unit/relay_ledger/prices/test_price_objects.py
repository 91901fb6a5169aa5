"""Public prices as objects: what the definitions in crds/ accept, and the same money once the operator and the ledger have read them."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.unit.relay_ledger.prices.crd_schema import problems, schema_of

from relay_ledger.catalogues.genai_catalogue import genai_price_list
from relay_ledger.prices.price_file import price_list_of, read_price_list
from relay_ledger.prices.price_list import InvalidPrices, PriceEntry, PriceList
from relay_ledger.prices.price_objects import PriceObject, price_list_object, provider_object
from relay_operator.manifests.ledger.books import charge_prices, cost_prices

Make = Callable[[PriceList], PriceObject]
PROVIDERS = ["openai", "anthropic", "google", "deepseek", "mistral", "openrouter", "aws"]
URL = "https://api.example.com/v1"


def with_endpoint(prices: PriceList) -> PriceObject:
    return provider_object(prices, url=URL)


def listed(text: str) -> PriceList:
    return read_price_list(f"name: own\ncurrency: USD\nentries:\n{text}")


def left_in(made: PriceObject) -> list[str]:
    return [model["name"] for model in made.content["spec"]["models"]]


def by_name(prices: PriceList) -> dict[str, set[Any]]:
    """Returns the entries of each name of a model, without the other names."""

    def told(entry: PriceEntry) -> Any:
        hours = None if entry.hours is None else (entry.hours.start, entry.hours.end)
        return (
            *(entry.tier, entry.region, entry.above_input_tokens, entry.starts_at, entry.ends_at),
            *(hours, tuple(sorted(entry.tokens.items())), tuple(sorted(entry.pieces.items()))),
            *(entry.source, entry.checked_at),
        )

    return {name: set(map(told, entries)) for name, entries in prices.by_model.items()}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("make", "plural"), [(price_list_object, "pricelists"), (with_endpoint, "providers")]
)
def test_public_prices_are_what_the_definitions_accept(
    provider: str, make: Make, plural: str
) -> None:
    made = make(genai_price_list(provider, name=provider).prices)
    written = yaml.load(made.yaml(["a comment"]), Loader=yaml.CSafeLoader)
    assert written == made.content
    assert problems(written["spec"], schema_of(plural)) == []
    assert written["spec"]["models"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_price_is_the_same_once_it_is_read_or_its_model_is_named(provider: str) -> None:
    prices = genai_price_list(provider, name=provider, checked_at="2026-11-01").prices
    own = by_name(prices)
    assert all(entry.source.startswith("genai-prices ") for entry in prices.entries)
    for made in (price_list_object(prices), provider_object(prices)):
        spec = made.content["spec"]
        is_list = made.content["kind"] == "PriceList"
        content = charge_prices(provider, spec, 0) if is_list else cost_prices(provider, spec)
        found = by_name(price_list_of(content))
        assert {name: own[name] for name in found} == found
        missing = own.keys() - found.keys()
        told = {one.split(": ")[0] for one in made.left_out}
        aliases = {name for entry in prices.entries if told & entry.models for name in entry.models}
        assert missing <= told | aliases


@pytest.mark.parametrize("field", ["source", "checkedAt"])
@pytest.mark.parametrize(
    ("value", "is_well"),
    [
        ("2026-11-01", True),
        ("价格表 3, https://prices.example/?page=1", None),
        ("https://me:hush@prices.example", False),
        ("two\nlines", False),
        ("2026-02-30x", None),
        ("", False),
        ("x" * 257, False),
    ],
)
def test_what_is_said_of_a_source_is_bounded_alike_by_the_definitions_and_the_ledger(
    field: str, value: str, is_well: bool | None
) -> None:
    """None of what is a source and no day."""
    is_taken = field == "source" if is_well is None else is_well
    price = {"perMillionTokens": {"input": "1"}, field: value}
    spec = {"currency": "USD", "models": [{"name": "m", "provider": "", "prices": [price]}]}
    assert (problems(spec, schema_of("pricelists")) == []) is is_taken
    models = schema_of("providers")["properties"]["models"]["items"]
    assert (problems(price, models["properties"]["prices"]["items"]) == []) is is_taken
    if is_taken:
        [entry] = price_list_of(charge_prices("own", spec, 0)).entries
        assert value in (entry.source, entry.checked_at)
    else:
        with pytest.raises(InvalidPrices, match=field):
            price_list_of(charge_prices("own", spec, 0))


def test_what_a_kind_has_no_room_for_is_named_and_not_cut_short() -> None:
    price = "prices: {input: '1'}"
    many = "".join(
        f"- {{models: [m], from: '20{year:02d}-01-01', until: '20{year + 1:02d}-01-01', {price}}}\n"
        for year in range(10, 23)
    )
    others = f"- {{models: [{', '.join(f'n{n}' for n in range(18))}], {price}}}\n"
    dear = f"- {{models: [dear], {price}, perPiece: {{call: '100'}}}}\n"
    prices = listed(many + others + dear)
    as_list, as_provider = price_list_object(prices), provider_object(prices)
    assert as_list.left_out == ("m: 13 prices are more than the 12 of a model",)
    assert len(left_in(as_list)) == 19
    assert as_provider.left_out == ("n0: 17 further names are more than 16: add it by hand",)
    assert left_in(as_provider) == ["m", "dear"]
    assert as_list.yaml().startswith("# left out: m: 13 prices")
    crowd = listed("".join(f"- {{models: [m{n:03d}], {price}}}\n" for n in range(257)))
    assert price_list_object(crowd).left_out == (
        "m256: a PriceList holds 256 models; name those that you need by --model",
    )
    assert len(provider_object(crowd).left_out) == 129


def test_the_bounds_are_those_of_the_definitions() -> None:
    for plural, models, prices in (("pricelists", 256, 12), ("providers", 128, 16)):
        schema = schema_of(plural)["properties"]["models"]
        own = schema["items"]["properties"]
        assert (schema["maxItems"], own["prices"]["maxItems"]) == (models, prices)
    assert own["answersAs"]["maxItems"] == 16


@pytest.mark.parametrize("name", ["Own", "a.b", "-a", "a" * 64])
def test_a_name_of_no_object_is_refused(name: str) -> None:
    entries = listed("- {models: [m], prices: {input: '1'}}\n").entries
    with pytest.raises(InvalidPrices, match="give --name"):
        price_list_object(PriceList(name, entries))


def test_a_list_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InvalidPrices, match="no model is left that a PriceList can hold"):
        price_list_object(PriceList("own", ()))
