"""What a tool or prompt was when it was approved: the hash of everything that its server says of it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from relay_contract.part import Part, Sha256Hex
from relay_contract.tools.patterns import DefinitionName


class Definition(Part):
    """An approved tool or prompt, by the name that its server gives it."""

    name: DefinitionName
    digest: Sha256Hex


def definition_digest(definition: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a definition as its server lists it, in hexadecimal.

    Every field counts, those that no revision of the protocol names too: a model or a client may read any of them. Order and
    blanks do not.
    """
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
