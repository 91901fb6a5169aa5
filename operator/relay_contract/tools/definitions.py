"""What a tool, prompt or resource was when it was approved: the hash of everything that its server says of it."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from relay_contract.part import Part, Sha256Hex
from relay_contract.tools.patterns import DefinitionName, ResourceName

WAITING: Final = ""
"""In place of a digest: the server lists it otherwise than approved, or nobody has approved it yet."""
_TIME: Final = re.compile(r"[0-9TZ:.+-]{1,40}")
"""A moment as in ISO 8601; words are none."""


class Definition(Part):
    """An approved tool or prompt, by the name that its server gives it."""

    name: DefinitionName
    digest: Sha256Hex


class ResourceDefinition(Part):
    """A resource by its URI, or a template by itself, as it was approved; WAITING as digest suspends it."""

    name: ResourceName
    digest: Sha256Hex | Literal[""]


def resource_digest(resource: Mapping[str, Any]) -> str:
    """Returns the digest of a resource or template as its server lists it."""
    return definition_digest(described(resource))


def described(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a resource or template is said to be, without what changes with its content alone: size and time of the last change."""
    kept = {key: value for key, value in resource.items() if key != "size" or not _is_size(value)}
    notes = kept.get("annotations")
    if isinstance(notes, dict):
        changed = notes.get("lastModified")
        if isinstance(changed, str) and _TIME.fullmatch(changed):
            kept["annotations"] = {key: notes[key] for key in notes if key != "lastModified"}
        if not kept["annotations"]:
            del kept["annotations"]
    return kept


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def definition_digest(definition: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a definition as its server lists it, in hexadecimal.

    Every field counts, those that no revision of the protocol names too: a model or a client may read any of them. Order and
    blanks do not.
    """
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
