"""The API server refuses prices that are no amounts, stand twice or hold at one time, with a message that a person can act on."""

from itertools import pairwise
from typing import Any

import pytest
import yaml
from tests.cluster.session.clients import Client
from tests.contract.test_custom_resources import API_VERSION, HTTPS, attempt

from relay_ledger.catalogues.genai_catalogue import genai_price_list
from relay_ledger.prices.price_objects import price_list_object, provider_object

INPUT = {"perMillionTokens": {"input": "2"}}
NEXT_YEAR = "2027-01-01T00:00:00Z"


def of_list(*prices: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {"currency": "USD", "models": [{"name": "gpt-4.1", "prices": list(prices), **model}]}


def of_provider(*prices: dict[str, Any], **model: Any) -> dict[str, Any]:
    return HTTPS | {"models": [{"name": "gpt-4.1", "prices": list(prices), **model}]}


def of_tools(*prices: dict[str, Any], **tool: Any) -> dict[str, Any]:
    """Returns a list with prices of tools; server is not written where it is left out."""
    return of_list(INPUT) | {"tools": [{"name": "read_*", "prices": list(prices), **tool}]}


def of_server(*prices: dict[str, Any], **tool: Any) -> dict[str, Any]:
    tools = {"name": "read_*", "prices": list(prices), **tool}
    return {"endpoint": {"url": "https://erp.example.com/mcp"}, "prices": [tools]}


def amount(text: Any) -> dict[str, Any]:
    return {"perMillionTokens": {"output": text}}


def large() -> dict[str, Any]:
    """Returns the largest list: every entry of a model is alike but for its time."""
    times = [f"20{year:02d}-01-01T00:00:00Z" for year in range(20, 33)]
    prices = [
        {
            "from": start,
            "until": end,
            "serviceTier": "priority",
            "region": "eu-west-1",
            "aboveInputTokens": 200_000,
            "perMillionTokens": {"input": "999.999999", "output": "1000"},
        }
        for start, end in pairwise(times)
    ]
    models = [{"name": f"model-{n}", "provider": "openai", "prices": prices} for n in range(256)]
    calls = [
        {name: price[name] for name in ("from", "until")}
        | {"perCall": "99.999999", "toolErrors": "Billed"}
        for price in prices
    ]
    tools = [{"name": f"tool-{n}", "server": "erp", "prices": calls} for n in range(256)]
    return {"currency": "USD", "models": models, "tools": tools}


ACCEPTED = [
    *(amount(text) for text in ("0", "0.075", "0.000001", "999.999999", "1000", "1000.0")),
    INPUT | {"perPiece": {"webSearch": "0.01", "webFetch": "0", "call": "100"}},
    INPUT | {"hours": {"start": "16:30", "end": "00:30"}},
]


@pytest.mark.parametrize("entry", ACCEPTED)
def test_an_entry_is_accepted_of_lists_and_of_providers(
    kubectl: Client, crds: None, entry: dict[str, Any]
) -> None:
    assert attempt(kubectl, "PriceList", "p", of_list(entry)) == ""
    assert attempt(kubectl, "Provider", "p", of_provider(entry)) == ""


WHOLE = [
    ("PriceList", of_list(INPUT | {"until": NEXT_YEAR}, INPUT | {"from": NEXT_YEAR})),
    ("PriceList", of_list(INPUT, INPUT | {"serviceTier": "batch"}, INPUT | {"region": "eu"})),
    ("PriceList", of_list(INPUT, INPUT | {"hours": {"start": "00:00", "end": "08:00"}})),
    ("PriceList", of_list(INPUT, INPUT | {"aboveInputTokens": 200_000})),
    ("Provider", HTTPS | {"models": [{"name": "m", "inputPrice": 2_000_000}]}),
    ("Tenant", {"billing": {}}),
    ("Tenant", {"billing": {"priceList": "standard", "markupPercent": -99}}),
    ("Tenant", {"billing": {"priceList": "standard", "zone": "America/Argentina/Buenos_Aires"}}),
    ("Tenant", {"billing": {"priceList": "standard", "currency": "CNY"}}),
]


@pytest.mark.parametrize(("kind", "spec"), WHOLE)
def test_prices_that_do_not_meet_are_accepted(
    kubectl: Client, crds: None, kind: str, spec: dict[str, Any]
) -> None:
    assert attempt(kubectl, kind, "p", spec) == ""


def test_the_largest_list_is_accepted(kubectl: Client, crds: None) -> None:
    """Shows that the rules are within what the API server spends on one object."""
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "PriceList",
        "metadata": {"name": "large"},
        "spec": large(),
    }
    done = kubectl.attempt("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert done.stderr == ""


CALLS = [
    *({"perCall": text} for text in ("0", "0.075", "0.000001", "99.999999", "100", "100.0")),
    {"perCall": "1", "toolErrors": "Free", "from": NEXT_YEAR, "until": "2027-06-01T00:00:00Z"},
]


@pytest.mark.parametrize("price", CALLS)
def test_a_price_of_tools_is_accepted_of_lists_and_of_servers(
    kubectl: Client, crds: None, price: dict[str, Any]
) -> None:
    ending, beginning = {"perCall": "1", "until": NEXT_YEAR}, {"perCall": "2", "from": NEXT_YEAR}
    for prices in ([price], [ending, beginning]):
        assert attempt(kubectl, "PriceList", "p", of_tools(*prices)) == ""
        assert attempt(kubectl, "PriceList", "p", of_tools(*prices, server="erp")) == ""
        assert attempt(kubectl, "ToolServer", "p", of_server(*prices, name="*")) == ""


MEET = "give the earlier one an until"
REFUSED = [
    *((amount(text), "output") for text in ("-1", "NaN", "Infinity", "1e3", "0.0000001", "1001")),
    *((amount(text), "output") for text in ("", " 1", "1,5", "01", ".5", "5.", "0x1", 0.5, 2)),
    ({"perMillionTokens": {}}, "perMillionTokens"),
    ({"perMillionTokens": {"inputs": "1"}}, "inputs"),
    ({"perPiece": {"call": "1"}}, "perMillionTokens"),
    (INPUT | {"perPiece": {"call": "100.5"}}, "call"),
    (INPUT | {"from": "2026-12-01"}, "from"),
    (INPUT | {"from": "2026-13-01T00:00:00Z"}, "from"),
    *(
        (INPUT | {name: f"{day}T00:00:00Z"}, "no calendar has this day")
        for name in ("from", "until")
        for day in ("2026-02-29", "2028-02-30", "2026-04-31", "2026-11-31")
    ),
    (INPUT | {"checkedAt": "2026-02-29"}, "no calendar has this day"),
    (INPUT | {"from": "2026-12-01T00:00:00+02:00"}, "from"),
    (INPUT | {"from": NEXT_YEAR, "until": NEXT_YEAR}, "until is not after from"),
    (INPUT | {"hours": {"start": "08:00", "end": "08:00"}}, "remove hours for the whole day"),
    (INPUT | {"hours": {"start": "24:00", "end": "08:00"}}, "start"),
    (INPUT | {"aboveInputTokens": 0}, "aboveInputTokens"),
]


@pytest.mark.parametrize(("entry", "says"), REFUSED)
def test_an_entry_is_refused_with_its_reason(
    kubectl: Client, crds: None, entry: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, "PriceList", "p", of_list(entry))
    assert says in attempt(kubectl, "Provider", "p", of_provider(entry))


REFUSED_WHOLE = [
    ("PriceList", of_list(INPUT, INPUT), MEET),
    ("Provider", of_provider(INPUT, INPUT), MEET),
    (
        "PriceList",
        of_list(INPUT | {"until": "2027-01-01T00:00:01Z"}, INPUT | {"from": NEXT_YEAR}),
        MEET,
    ),
    ("PriceList", of_list(INPUT, INPUT | {"from": NEXT_YEAR}), MEET),
    ("PriceList", of_list(INPUT | {"region": "eu"}, INPUT | {"region": "eu"}), MEET),
    ("PriceList", of_list(), "prices"),
    ("PriceList", {"currency": "USD", "models": []}, "models"),
    ("PriceList", {"models": of_list(INPUT)["models"]}, "currency"),
    ("PriceList", of_list(INPUT) | {"currency": "CNY"}, "currency"),
    ("PriceList", {"currency": "USD", "models": of_list(INPUT)["models"] * 2}, "Duplicate value"),
    ("PriceList", of_list(INPUT, provider="Not A Provider"), "provider"),
    ("Provider", of_provider(INPUT, inputPrice=1), "remove the latter"),
    ("Tenant", {"billing": {"markupPercent": 5}}, "set priceList, or remove markupPercent"),
    ("Tenant", {"billing": {"priceList": "standard", "markupPercent": -100}}, "markupPercent"),
    ("Tenant", {"billing": {"priceList": "Standard"}}, "priceList"),
    ("Tenant", {"billing": {"zone": "../etc/passwd"}}, "zone"),
    ("Tenant", {"billing": {"currency": "RMB"}}, "currency"),
    ("Tenant", {"billing": {"budget": {}}}, "budget"),
]


@pytest.mark.parametrize(("kind", "spec", "says"), REFUSED_WHOLE)
def test_prices_that_meet_or_stand_twice_are_refused_with_their_reason(
    kubectl: Client, crds: None, kind: str, spec: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, kind, "p", spec)


CALL = {"perCall": "1"}
REFUSED_CALLS = [
    *(
        ({"perCall": text}, "perCall")
        for text in ("-1", "NaN", "Infinity", "1e1", "0.0000001", "100.1", "", ".5", 1, 0.5)
    ),
    ({}, "perCall"),
    (CALL | {"toolErrors": "free"}, "toolErrors"),
    (CALL | {"hours": {}}, "hours"),
    (CALL | {"from": "2026-12-01"}, "from"),
    (CALL | {"until": "2026-06-31T00:00:00Z"}, "no calendar has this day"),
    (CALL | {"checkedAt": "2026-09-31"}, "no calendar has this day"),
    (CALL | {"from": NEXT_YEAR, "until": NEXT_YEAR}, "until is not after from"),
]


@pytest.mark.parametrize(("price", "says"), REFUSED_CALLS)
def test_a_price_of_tools_is_refused_with_its_reason(
    kubectl: Client, crds: None, price: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, "PriceList", "p", of_tools(price))
    assert says in attempt(kubectl, "ToolServer", "p", of_server(price))


def twice(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return spec | {name: spec[name] * 2}


@pytest.mark.parametrize(
    ("kind", "spec", "says"),
    [
        ("PriceList", of_tools(CALL, CALL), MEET),
        ("PriceList", of_tools(CALL, CALL | {"from": NEXT_YEAR}), MEET),
        ("ToolServer", of_server(CALL, CALL), MEET),
        ("PriceList", of_tools(), "prices"),
        ("PriceList", of_tools(CALL, name="*_all"), "name"),
        ("PriceList", of_tools(CALL, name="two words"), "name"),
        ("PriceList", of_tools(CALL, server="Not A Server"), "server"),
        ("PriceList", twice(of_tools(CALL), "tools"), "Duplicate value"),
        ("ToolServer", twice(of_server(CALL), "prices"), "Duplicate value"),
        ("ToolServer", of_server(CALL, server="erp"), "server"),
    ],
)
def test_prices_of_tools_that_meet_or_stand_twice_are_refused_with_their_reason(
    kubectl: Client, crds: None, kind: str, spec: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, kind, "p", spec)


def test_a_name_that_no_tenant_could_write_is_refused(kubectl: Client, crds: None) -> None:
    assert "DNS label" in attempt(kubectl, "PriceList", "a.b", of_list(INPUT))


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "deepseek"])
def test_public_prices_are_accepted_as_they_are_written(
    kubectl: Client, crds: None, provider: str
) -> None:
    prices = genai_price_list(provider, name=provider).prices
    for made in (price_list_object(prices), provider_object(prices, url=HTTPS["endpoint"]["url"])):
        done = kubectl.attempt(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=made.yaml(["public"])
        )
        assert done.returncode == 0, done.stderr
