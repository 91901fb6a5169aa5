"""The text of a document, put together from the texts of its parts.

A part that stays the same is written once: a change of one route of hundreds costs little more than that route.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from relay_contract import document
from relay_contract.document import Document, Part

_PartTexts = dict[str, tuple[Part, str]]
"""Parts by name, each with its text."""
_FEW: Final = 8
"""Parts that are written anew within a millisecond: most tenants have no more, and their texts would take the memory of the document."""


@dataclass(slots=True)
class Texts:
    """Texts of the routes and Providers of one tenant's document, by name, each with the part that it is the text of.

    Those of a few parts are not kept.
    """

    _routes: _PartTexts = field(default_factory=dict)
    _providers: _PartTexts = field(default_factory=dict)

    def payload(self, whole: Document) -> str:
        """Returns the same as `document.canonical_payload`, and keeps the texts of these routes and Providers, if they are many, alone."""
        routes = _texts({one.name: one for one in whole.tenant.routes}, self._routes)
        providers = _texts({one.name: one for one in whole.catalogue.providers}, self._providers)
        are_few = len(routes) + len(providers) <= _FEW
        self._routes, self._providers = ({}, {}) if are_few else (routes, providers)
        return _whole_text(whole, routes, providers)


def _whole_text(whole: Document, routes: _PartTexts, providers: _PartTexts) -> str:
    """Returns the text of a document, of whose routes and Providers there are texts."""
    tenant = whole.tenant.model_dump(mode="json", by_alias=True, exclude={"routes"})
    epoch = {"epoch": str(whole.epoch)} if whole.epoch else {}
    servers = [
        document.canonical_text(one.model_dump(mode="json", by_alias=True))
        for one in whole.catalogue.tool_servers
    ]
    return _object(
        epoch
        | {
            "catalogue": _object(
                {"providers": _array(providers)}
                | ({"toolServers": f"[{','.join(servers)}]"} if servers else {})
            ),
            "generation": str(whole.generation),
            "tenant": _object(
                {name: document.canonical_text(value) for name, value in tenant.items()}
                | {"routes": _array(routes)}
            ),
            "version": str(whole.version),
        }
    )


def _texts(parts: dict[str, Any], known: _PartTexts) -> _PartTexts:
    found = {}
    for name, part in parts.items():
        before = known.get(name)
        if before is None or before[0] is not part:
            before = part, document.canonical_text(part.model_dump(mode="json", by_alias=True))
        found[name] = before
    return found


def _array(texts: _PartTexts) -> str:
    return f"[{','.join(text for _, text in texts.values())}]"


def _object(fields: dict[str, str]) -> str:
    """Returns a JSON object of fields whose values are written already."""
    return f"{{{','.join(f'{json.dumps(name)}:{fields[name]}' for name in sorted(fields))}}}"
