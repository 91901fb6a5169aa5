"""The text of a document, put together from the texts of its parts.

A part that stays the same is written once: a change of one route of hundreds costs little more than that route.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from relay_contract import document
from relay_contract.document import Document, Part


@dataclass(slots=True)
class Texts:
    """Texts of the routes and Providers of one tenant's document, by name, each with the part that it is the text of."""

    _routes: dict[str, tuple[Part, str]] = field(default_factory=dict)
    _providers: dict[str, tuple[Part, str]] = field(default_factory=dict)

    def payload(self, whole: Document) -> str:
        """Returns the same as `document.canonical_payload`, and keeps the texts of these routes and Providers alone."""
        tenant = whole.tenant.model_dump(mode="json", by_alias=True, exclude={"routes"})
        self._routes = _texts({one.name: one for one in whole.tenant.routes}, self._routes)
        providers = {one.name: one for one in whole.catalogue.providers}
        self._providers = _texts(providers, self._providers)
        epoch = {"epoch": str(whole.epoch)} if whole.epoch else {}
        servers = [
            document.canonical_text(one.model_dump(mode="json", by_alias=True))
            for one in whole.catalogue.tool_servers
        ]
        return _object(
            epoch
            | {
                "catalogue": _object(
                    {"providers": _array(self._providers)}
                    | ({"toolServers": f"[{','.join(servers)}]"} if servers else {})
                ),
                "generation": str(whole.generation),
                "tenant": _object(
                    {name: document.canonical_text(value) for name, value in tenant.items()}
                    | {"routes": _array(self._routes)}
                ),
                "version": str(whole.version),
            }
        )


def _texts(
    parts: dict[str, Any], known: dict[str, tuple[Part, str]]
) -> dict[str, tuple[Part, str]]:
    found = {}
    for name, part in parts.items():
        before = known.get(name)
        if before is None or before[0] is not part:
            before = part, document.canonical_text(part.model_dump(mode="json", by_alias=True))
        found[name] = before
    return found


def _array(texts: dict[str, tuple[Part, str]]) -> str:
    return f"[{','.join(text for _, text in texts.values())}]"


def _object(fields: dict[str, str]) -> str:
    """Returns a JSON object of fields whose values are written already."""
    return f"{{{','.join(f'{json.dumps(name)}:{fields[name]}' for name in sorted(fields))}}}"
