"""Callers may rely on what every side that serves a model can do."""

from typing import Any

import pytest
from tests.unit.relay.documents import CANARY, STABLE, document, provider

from relay.routing.model_capabilities import of_model
from relay.routing.snapshot import compile_snapshot
from relay_contract.document import Capabilities, ProviderModel, Route

STABLE_CAN = Capabilities(context_window=1000, tools=True, vision=True)
CANARY_CAN = Capabilities(context_window=800, tools=True, vision=False, audio=True)


def found(percent: int, canary: Capabilities | None = CANARY_CAN) -> dict[str, Any]:
    def listed(can: Capabilities | None) -> tuple[ProviderModel, ...]:
        return (ProviderModel(name="gpt-4.1", upstream_name="up", capabilities=can),)

    providers = (
        provider("legacy", models=listed(STABLE_CAN)),
        provider("holysheep", models=listed(canary)),
    )
    route = Route(name="r", stable=STABLE, canary=CANARY, canary_percent=percent)
    return of_model(compile_snapshot(document(providers=providers, routes=(route,)), ""), "gpt-4.1")


@pytest.mark.parametrize(
    ("percent", "can"),
    [
        (0, {"context_window": 1000, "tools": True, "vision": True}),
        (10, {"context_window": 800, "tools": True, "vision": False}),
        (100, {"audio": True, "context_window": 800, "tools": True, "vision": False}),
    ],
)
def test_while_two_sides_serve_it_is_what_both_can(percent: int, can: dict[str, Any]) -> None:
    assert found(percent) == can


def test_nothing_is_promised_for_a_side_that_says_nothing() -> None:
    assert found(10, canary=None) == {}
    assert found(0, canary=None) != {}


def test_what_is_not_said_is_not_in_the_text_of_a_document() -> None:
    model = ProviderModel(name="m", upstream_name="m")
    assert "capabilities" not in model.model_dump_json(by_alias=True)
    said = model.model_copy(update={"capabilities": Capabilities(tools=False)})
    assert '"capabilities":{"tools":false}' in said.model_dump_json(by_alias=True)
