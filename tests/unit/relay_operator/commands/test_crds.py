"""relay-operator crds applies what the directory holds, and nothing where something in it is none of ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator.commands import crds
from relay_operator.errors import OperatorError

CRDS = Path(__file__).resolve().parents[4] / "crds"


def write(directory: Path) -> dict[str, Any]:
    """Writes the definitions of this checkout as the chart hands them over."""
    found = {}
    for file in CRDS.glob("*.yaml"):
        definition = yaml.safe_load(file.read_text())
        (directory / f"{file.stem}.json").write_text(json.dumps(definition))
        found[definition["metadata"]["name"]] = definition
    return found


async def test_definitions_are_created_and_then_are_unchanged(tmp_path: Path) -> None:
    server, written = InMemoryApiServer(), write(tmp_path)
    api: Any = server.connect()
    definitions = crds.read(tmp_path)
    created = await crds.apply(api, definitions)
    assert created == [f"customresourcedefinition {name}: created" for name in sorted(written)]
    again = await crds.apply(api, definitions)
    assert again == [f"customresourcedefinition {name}: unchanged" for name in sorted(written)]


async def test_a_definition_of_an_older_version_is_upgraded(tmp_path: Path) -> None:
    server, written = InMemoryApiServer(), write(tmp_path)
    api: Any = server.connect()
    older = json.loads(json.dumps(written["tenants.relay-operator.dev"]))
    older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].pop("status")
    await api.apply(older)
    lines = await crds.apply(api, crds.read(tmp_path))
    assert "customresourcedefinition tenants.relay-operator.dev: upgraded" in lines
    live = server.stored("CustomResourceDefinition", "tenants.relay-operator.dev")
    assert live["spec"] == written["tenants.relay-operator.dev"]["spec"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"kind": "ConfigMap"}',
        '{"kind": "CustomResourceDefinition", "spec": {"group": "cert-manager.io"}}',
        '{"kind": "Tenant", "spec": {"group": "relay-operator.dev"}}',
    ],
)
def test_a_file_that_is_none_of_ours_stops_all(text: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(OperatorError, match=r"other\.json holds"):
        crds.read(tmp_path)
