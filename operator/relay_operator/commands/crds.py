"""The command relay-operator crds: brings the custom resource definitions to those of this version, before it runs."""

import json
from pathlib import Path
from typing import Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, KubernetesApiServer, Manifest
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.errors import OperatorError

SUMMARY: Final = "apply custom resource definitions, as the chart's crds.upgradeJob does"
DESCRIPTION: Final = """\
Applies every custom resource definition in DIRECTORY (files NAME.json) by server-side apply, taking over fields that
others set, as `kubectl apply --server-side --force-conflicts` does. Definitions of other groups are refused. Objects are not touched.
"""


async def run(directory: str) -> int:
    """Applies the definitions; returns the exit code. Raises OperatorError, before anything is written for a wrong file."""
    definitions = read(Path(directory))
    api = await KubernetesApiServer.connect(ApiTraffic())
    try:
        for line in await apply(api, definitions):
            print(line)  # noqa: T201 - the answer of the command
    finally:
        await api.close()
    return 0


def read(directory: Path) -> tuple[Manifest, ...]:
    """Reads the definitions. Raises OperatorError for a file that holds none of ours, and where there is none."""
    definitions = tuple(_definition(file) for file in sorted(directory.glob("*.json")))
    if not definitions:
        raise OperatorError(f"there is no definition in {directory}: files NAME.json are expected")
    return definitions


async def apply(api: ApiServer, definitions: tuple[Manifest, ...]) -> list[str]:
    """Applies the definitions; says of each what became of it."""
    lines = []
    for definition in definitions:
        name = definition["metadata"]["name"]
        before = await api.get("CustomResourceDefinition", name)
        after = await api.apply(definition)
        lines.append(f"customresourcedefinition {name}: {_difference(before, after)}")
    return lines


def _difference(before: Manifest | None, after: Manifest) -> str:
    if before is None:
        return "created"
    return "unchanged" if before["spec"] == after["spec"] else "upgraded"


def _definition(file: Path) -> Manifest:
    try:
        found = json.loads(file.read_bytes())
        kind, group = found["kind"], found["spec"]["group"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{file} holds no custom resource definition in JSON") from error
    if (kind, group) != ("CustomResourceDefinition", names.GROUP):
        raise OperatorError(f"{file} holds a {kind} of {group}, and no definition of {names.GROUP}")
    return dict(found)
