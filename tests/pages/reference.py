"""Writes docs/reference from what it is about: fields from the custom resource definitions, settings and refusals from the code.

python -m tests.pages.reference          writes the pages anew
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic_settings import BaseSettings
from tests.pages.blocks import ROOT

import relay.settings
import relay_ledger.settings
import relay_operator.settings
from relay.dialect.refusals import Refusal
from relay.tools.reading.eras import Era
from relay.tools.reading.protocol_errors import ProtocolError

DIRECTORY: Final = ROOT / "docs" / "reference"
_WRITTEN: Final = "Written by `make reference`; a test holds it to its source. "
_KINDS: Final = ("Tenant", "Provider", "ToolServer", "RelayRoute", "PriceList")
_BOUNDS: Final = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("maxLength", "at most {} characters"),
    ("maxItems", "at most {} entries"),
    ("maxProperties", "at most {} entries"),
)
_NAME: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
Schema = Mapping[str, Any]


def fields_page() -> str:
    """Renders every field of every custom resource, with type, bounds and description, and the rules over several fields."""
    lines = [
        "# Fields",
        "",
        f"{_WRITTEN}The same is in the cluster: `kubectl explain tenant.spec.queue`. `[]` marks the entries of a list, `*` those of a map.",
    ]
    for kind in _KINDS:
        schema = _schemas()[kind]
        lines += ["", f"## {kind}", "", schema["description"]]
        for part in ("spec", "status"):
            lines += [
                "",
                f"### {kind}.{part}",
                "",
                "| field | type | what it is |",
                "|---|---|---|",
            ]
            lines += list(_rows(schema["properties"][part], ""))
        lines += ["", f"### Rules of {kind}", ""]
        lines += sorted({f"- {message}" for message in _rules(schema)})
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Renders the environment variables of the three processes."""
    lines = [
        "# Settings",
        "",
        f"{_WRITTEN}The chart sets the operator's and the ledger's from its [values](../../charts/relay-operator/values.yaml), and the operator sets "
        "those of relay pods: whoever uses the chart sets none of them by hand. Times are in seconds, sizes in bytes unless a name says otherwise.",
    ]
    for title, model, documented in (
        (
            "The operator",
            relay_operator.settings.Settings,
            _described(relay_operator.settings.Settings),
        ),
        ("A relay pod", relay.settings.Settings, _attribute_docstrings(relay.settings.Settings)),
        (
            "The ledger",
            relay_ledger.settings.Settings,
            _attribute_docstrings(relay_ledger.settings.Settings),
        ),
    ):
        lines += ["", f"## {title}", "", "| variable | default | what it is |", "|---|---|---|"]
        lines += [
            f"| `{_variable(model, name)}` | {_default(field.is_required(), field.default)} | {_by_variables(model, _cell(documented.get(name, '')))} |"
            for name, field in model.model_fields.items()
        ]
    return "\n".join(lines) + "\n"


def refusals_page() -> str:
    """Renders the answers that a relay gives in place of a provider's."""
    lines = [
        "# Refusals",
        "",
        f'{_WRITTEN}What a relay answers by itself, as `{{"error": {{"message", "type", "param", "code"}}}}`. Messages '
        "say more where more is known. The reason is the label of `relay_rejections_total`. 429 is a limit, 502 and 504 are the provider's "
        "failures, 503 is the relay's state. The official SDKs try 408, 409, 429 and 5xx again by themselves, unless *again* says no.",
        "",
        "| status | code | reason | again | message |",
        "|---|---|---|---|---|",
    ]
    again = {None: "", True: "yes", False: "no"}
    for refusal in sorted(Refusal, key=lambda one: one.value.status):
        row = refusal.value
        lines.append(
            f"| {row.status} | `{row.code}` | `{refusal.name}` | {again[row.retry]} | {_cell(row.message)} |"
        )
    lines += [
        "",
        "## Tools",
        "",
        "At `/mcp` a message of the protocol that is refused gets a JSON-RPC error. What is not granted, waits for approval or does not exist has the "
        "same one. What is no such message is refused as above: 401 without a key of the tenant, 404 `unknown_url` for a Tenant without `spec.tools`. "
        "With sessions (2025-11-25) an unknown method and invalid parameters have status 200, and an unknown resource the code -32002. How to call "
        "tools: [how-to/tools.md](../how-to/tools.md#call-them).",
        "",
        "| status | code | message |",
        "|---|---|---|",
    ]
    for error in sorted(ProtocolError, key=lambda one: one.status(Era.MODERN)):
        _, code, message = error.value
        lines.append(f"| {error.status(Era.MODERN)} | {code} | {_cell(message)} |")
    return "\n".join(lines) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "fields.md": fields_page,
    "settings.md": settings_page,
    "refusals.md": refusals_page,
}


def _schemas() -> dict[str, Schema]:
    found = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())["spec"]
        [version] = definition["versions"]
        found[definition["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


def _rows(schema: Schema, path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}" if path else name
        needed = ", required" if name in schema.get("required", ()) else ""
        yield f"| `{where}` | {_type(field)}{needed} | {_cell(field.get('description', ''))}{_bounds(field)} |"
        yield from _inner(field, where)


def _inner(field: Schema, where: str) -> Iterator[str]:
    """Renders the fields of an object, and of the entries of a list or map."""
    yield from _rows(field, where)
    for key, sign in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(field.get(key), dict):
            yield from _rows(field[key], where + sign)


def _type(field: Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{one}`" for one in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    kind = str(field.get("type", "object"))
    if kind == "array":
        return f"list of {field.get('items', {}).get('type', 'object')}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return "map"
    return str(field["format"]) if field.get("format") == "date-time" else kind


def _bounds(field: Schema) -> str:
    told = [text.format(f"{field[key]:,}") for key, text in _BOUNDS if key in field]
    return f" *({', '.join(told)})*" if told else ""


def _rules(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "message" in rule:
            yield _cell(rule["message"])
    for inner in (
        *schema.get("properties", {}).values(),
        schema.get("items"),
        schema.get("additionalProperties"),
    ):
        if isinstance(inner, dict):
            yield from _rules(inner)


def _described(model: type[BaseSettings]) -> dict[str, str]:
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _attribute_docstrings(model: type[BaseSettings]) -> dict[str, str]:
    """Returns the string below each field of a class, as its source has it."""
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    found, last = {}, ""
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            last = statement.target.id
        elif last and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            found[last] = str(statement.value.value)
    return found


def _variable(model: type[BaseSettings], name: str) -> str:
    alias = model.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{model.model_config['env_prefix']}{name}".upper()


def _by_variables(model: type[BaseSettings], text: str) -> str:
    """Puts the variables in the place of the settings that a text names."""
    return _NAME.sub(
        lambda found: (
            f"`{_variable(model, found[0])}`" if found[0] in model.model_fields else found[0]
        ),
        text,
    )


def _default(required: bool, value: object) -> str:
    if required:
        return "required"
    if value in (None, "", ()):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")


def write(directory: Path) -> None:
    """Writes every page into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (directory / name).write_text(page())


if __name__ == "__main__":
    write(DIRECTORY)
