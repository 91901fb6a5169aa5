"""A canary is compared with stable by what the catalogues say that the models can do."""

from typing import Any

import pytest

from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions.providers.capabilities import Compared, compare

ABLE = {"contextWindow": 1_000_000, "maxOutputTokens": 32_000, "tools": True, "vision": True}


def provider(name: str, **models: dict[str, Any] | None) -> Provider:
    listed = [{"name": model, "capabilities": said} for model, said in models.items()]
    spec = {"endpoint": {"url": "https://a.example.com"}, "models": listed}
    return Provider.parse({"metadata": {"name": name, "uid": name}, "spec": spec})


def route(**spec: Any) -> RelayRoute:
    body = {"stable": {"provider": "old"}, "canary": {"provider": "new", "percent": 1}} | spec
    metadata = {"name": "chat", "namespace": "relay-a", "uid": "u"}
    return RelayRoute.parse({"metadata": metadata, "spec": body})


def compared(has: Any, offers: Any, **spec: Any) -> Compared | None:
    providers = {"old": provider("old", m=has), "new": provider("new", m=offers, n=ABLE)}
    return compare(route(**spec), providers)


@pytest.mark.parametrize(
    ("canary", "holds", "says"),
    [
        (ABLE, True, "has all"),
        (ABLE | {"contextWindow": 2_000_000, "audio": True}, True, "has all"),
        (ABLE | {"contextWindow": 128_000}, False, "m: contextWindow 128000 instead of 1000000"),
        (ABLE | {"tools": False}, False, "m: no tools"),
        ({"contextWindow": 1_000_000}, False, "m: no tools, m: no vision"),
        (None, None, "Provider new says nothing"),
    ],
)
def test_what_the_canary_lacks_is_named(
    canary: dict[str, Any] | None, holds: bool | None, says: str
) -> None:
    found = compared(ABLE, canary)
    assert found is not None
    assert found.holds is holds
    assert says in found.message


def test_where_nothing_is_said_of_stable_nothing_is_compared() -> None:
    assert compared(None, ABLE) is None
    assert compared(ABLE, ABLE, canary=None) is None


def test_the_model_of_the_side_is_compared_and_not_the_one_asked_for() -> None:
    found = compared(ABLE, None, canary={"provider": "new", "model": "n", "percent": 1})
    assert found == Compared(True, "canary new has all that stable old has")
    unmatched = compared(ABLE, None, match={"models": ["other"]})
    assert unmatched is None


def test_a_long_list_has_an_end() -> None:
    models = {f"m{n}": ABLE for n in range(100)}
    weak: dict[str, Any] = {name: {"contextWindow": 1} for name in models}
    found = compare(route(), {"old": provider("old", **models), "new": provider("new", **weak)})
    assert found is not None
    assert len(found.message) < 500
    assert "and 295 more" in found.message
