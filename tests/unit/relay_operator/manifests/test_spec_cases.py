"""Schema and operator agree about a spec: both are tried with one table, that of the contract test which tries the schema."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.contract.test_custom_resources import ACCEPTED, REFUSED

from relay_operator.api.tiers import Tiers
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable

PREMIUM = {
    "queue": {"concurrency": 100},
    "relay": {"resources": {"requests": {"memory": "32Mi"}}},
}
TIERS = Tiers.parse(json.dumps({"premium": PREMIUM}))
PARSE: Mapping[str, Callable[[Any], object]] = {
    "Tenant": lambda body: composable.tenant(body, tiers=TIERS),
    "Provider": composable.provider,
    "RelayRoute": composable.route,
}
BY_THE_OPERATOR_ALONE = ("a certificate in it cannot be read",)
"""What no schema can tell of a spec."""


def refusal(kind: str, name: str, spec: Any) -> str:
    """Returns the operator's reason not to use a spec, empty where it can."""
    metadata = {"name": name, "namespace": "relay-a", "uid": "u-1", "generation": 1}
    try:
        PARSE[kind]({"metadata": metadata, "spec": spec})
    except InvalidSpec as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("kind", "name", "spec"), ACCEPTED)
def test_what_the_schema_accepts_the_operator_can_use(
    kind: str, name: str, spec: dict[str, Any]
) -> None:
    told = refusal(kind, name, spec)
    assert told == "" or told.endswith(BY_THE_OPERATOR_ALONE)


@pytest.mark.parametrize(("kind", "name", "spec", "_"), REFUSED)
def test_what_the_schema_refuses_makes_no_error_of_the_operator_but_a_refusal(
    kind: str, name: str, spec: dict[str, Any], _: str
) -> None:
    """A schema can be an older one than the operator's, so whatever is written is used or refused with a word of why."""
    told = refusal(kind, name, spec)
    assert told == "" or told.isprintable()


def test_the_operator_refuses_most_of_what_the_schema_does() -> None:
    found = [bool(refusal(kind, name, spec)) for kind, name, spec, _ in REFUSED]
    assert sum(found) > len(found) / 2
