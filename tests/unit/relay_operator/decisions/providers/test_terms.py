"""Whom a Provider is open to."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay_operator.api.provider import Terms
from relay_operator.decisions.providers import terms as provider_terms

LABELS = {"residency": "eu", "team": "ml"}


def terms(**fields: Any) -> Terms:
    return Terms.model_validate(fields)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"matchLabels": {"residency": "eu"}}, True),
        ({"matchLabels": {"residency": "eu", "team": "web"}}, False),
        ({"matchLabels": {"residency": "EU"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["ml", "web"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "plan", "operator": "In", "values": [""]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["ml"]}]}, False),
        ({"matchExpressions": [{"key": "plan", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "plan", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "plan", "operator": "DoesNotExist"}]}, True),
        (
            {
                "matchLabels": {"team": "ml"},
                "matchExpressions": [{"key": "plan", "operator": "Exists"}],
            },
            False,
        ),
    ],
)
def test_a_selector_means_what_it_means_in_kubernetes(
    selector: dict[str, Any], selected: bool
) -> None:
    assert provider_terms.is_open(terms(allowedTenants=selector, region="eu"), LABELS) is selected


@pytest.mark.parametrize(
    ("region", "near"),
    [("eu", True), ("eu-west", True), ("europe", False), ("us", False), (None, False)],
)
def test_a_residency_leaves_the_providers_of_its_region(region: str | None, near: bool) -> None:
    assert provider_terms.is_open(terms(region=region), LABELS) is near
    assert provider_terms.is_open(terms(region=region), {})


def test_without_terms_a_provider_is_open_to_everybody() -> None:
    assert provider_terms.is_open(terms(), {"team": "ml"})


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {}},
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        {"matchExpressions": [{"key": "a", "operator": "Near"}]},
    ],
)
def test_a_selector_that_says_nothing_opens_a_provider_to_nobody(selector: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        terms(allowedTenants=selector)
    assert provider_terms.terms_of({"allowedTenants": selector}) is None
    assert not provider_terms.is_open(None, LABELS)


def test_terms_are_read_where_the_rest_of_the_spec_cannot_be_used() -> None:
    spec = {"endpoint": 5, "allowedTenants": {"matchLabels": {"team": "ml"}}}
    found = provider_terms.terms_of(spec)
    assert found is not None
    assert provider_terms.is_open(found, {"team": "ml"})
    assert not provider_terms.is_open(found, {})
