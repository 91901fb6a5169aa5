"""Runs the health check that the pages give Argo CD, in the Lua that Argo CD has (5.1), with the libraries that it opens."""

import re
from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import yaml
from tests.ecosystem import kinds

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/how-to/gitops.md"
KINDS = tuple(sorted(kinds.defined()))
_KEY = "resource.customizations.health.relay-operator.dev_"
# Argo CD opens no more of the standard library than these
_RUN = """
function(object, source)
  local names = {obj = object, ipairs = ipairs, pairs = pairs, type = type, tostring = tostring, string = string, table = table}
  local check = assert(loadstring(source))
  setfenv(check, names)
  return check()
end
"""


def checks() -> dict[str, str]:
    """Returns the check of each kind, from the ConfigMap on the page."""
    text = (ROOT / PAGE).read_text()
    listed = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (found,) = filter(None, map(_data, listed))
    return found


def health(body: dict[str, Any], check: str) -> tuple[str, str]:
    """Returns status and message of an object."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    found = runtime.eval(_RUN)(_to_lua(runtime, body), check)
    return str(found["status"]), str(found["message"] or "")


def _data(text: str) -> dict[str, str]:
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == "ConfigMap":
            data = document.get("data", {})
            return {name.removeprefix(_KEY): data[name] for name in data if name.startswith(_KEY)}
    return {}


def _to_lua(runtime: Any, value: Any) -> Any:
    match value:
        case dict():
            return runtime.table_from({name: _to_lua(runtime, one) for name, one in value.items()})
        case list():
            return runtime.table_from([_to_lua(runtime, one) for one in value])
        case _:
            return value
