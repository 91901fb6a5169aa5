"""Sizes of the parts of a document, and what still fits into it.

A document has to fit into a ConfigMap and into what a relay takes. So routes are admitted only while there is room; what
takes something away (a lower percent, a suspension, a key that goes, a route that goes) makes a document smaller, or
changes the tenant's part of it, for which there is always room.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from relay_contract import document
from relay_operator.api.equal_parts import equal_names
from relay_operator.manifests import composition
from relay_operator.manifests.tools.tool_use import ToolUse

MOST_ROUTES = 500
"""In force for one tenant. Each costs its relays memory, and Prometheus a few dozen series a pod."""
MOST_PROVIDERS = 100
"""In use by one tenant. Their keys, of 8 KiB at most, and certificates share a Secret of 1 MiB; their addresses, as an annotation of the
network policy, have 256 KiB.
"""
TENANT_PART_BYTES = 64 * 1024
"""Kept free for the tenant's own part with all the keys and limits that the CRD allows, and for the seal."""
RATES_BYTES = 96 * 1024
"""Of prices of models to reserve calls by, some 500."""
TOOL_RATES_BYTES = 32 * 1024
"""The same of tools."""
MOST_BYTES = 2 * document.MAX_DOCUMENT_BYTES - TENANT_PART_BYTES - RATES_BYTES - TOOL_RATES_BYTES
"""For routes and Providers together, as they are written in the envelope."""

_CHANGING_BYTES = 8
"""Digits that a weight or a share can gain while the spec stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one route needs in the document: bytes of its own, and Providers, whose parts routes share."""

    size: int
    providers: frozenset[str]

    def covers(self, other: "Claim") -> bool:
        """Tells whether the other needs nothing that this one does not have."""
        return other.size <= self.size and other.providers <= self.providers


def size_of(part: document.Part) -> int:
    """Returns the bytes that a part takes in the envelope, where the document is a JSON text within JSON."""
    text = part.model_dump_json(by_alias=True)
    return len(text.encode()) + text.count('"') + text.count("\\") + _CHANGING_BYTES


def claim_of(route: document.Route) -> Claim:
    """Returns what a route needs, with whatever weight."""
    providers = equal_names(side.provider for side in composition.sides(route))
    return Claim(size=size_of(route), providers=providers)


def size_of_tools(use: ToolUse) -> int:
    """Returns the bytes that a document's tools take in the envelope."""
    parts = [*use.servers, *([use.manifest] if use.manifest is not None else [])]
    return sum(map(size_of, parts))


class Room:
    """Adds up what routes take. provider_size returns the bytes of a Provider's part, by its name; tools_size is what tools take."""

    def __init__(self, provider_size: Callable[[str], int], *, tools_size: int = 0) -> None:
        self._provider_size = provider_size
        self._most_bytes = MOST_BYTES - tools_size
        self._routes = 0
        self._size = 0
        self._uses: Counter[str] = Counter()

    @property
    def is_overdrawn(self) -> bool:
        """Tells whether what was taken is more than there is."""
        return (
            self._routes > MOST_ROUTES
            or len(self._uses) > MOST_PROVIDERS
            or self._size > self._most_bytes
        )

    def take(self, claim: Claim, *, instead_of: Claim | None = None) -> None:
        """Takes what a route needs, whether or not it is there, and gives back what it had before."""
        self._routes += instead_of is None
        self._size += claim.size - (instead_of.size if instead_of else 0)
        before = instead_of.providers if instead_of else frozenset()
        for gained in claim.providers - before:
            self._size += 0 if self._uses[gained] else self._provider_size(gained)
            self._uses[gained] += 1
        for lost in before - claim.providers:
            self._uses[lost] -= 1
            if not self._uses[lost]:
                del self._uses[lost]
                self._size -= self._provider_size(lost)

    def give_back(self, claim: Claim) -> None:
        """Gives back what a route took that is gone."""
        nothing = Claim(size=0, providers=frozenset())
        self.take(nothing, instead_of=claim)
        self._routes -= 1

    def lacks(self, claim: Claim, *, instead_of: Claim | None = None) -> str:
        """Says what is missing for a route; empty where it fits."""
        before = instead_of.providers if instead_of else frozenset()
        gained = {name for name in claim.providers - before if name not in self._uses}
        lost = {name for name in before - claim.providers if self._uses[name] == 1}
        growth = claim.size - (instead_of.size if instead_of else 0)
        growth += sum(map(self._provider_size, gained)) - sum(map(self._provider_size, lost))
        if instead_of is None and self._routes >= MOST_ROUTES:
            return f"the tenant has {MOST_ROUTES} routes in force, which is the most"
        if gained and len(self._uses) + len(gained) - len(lost) > MOST_PROVIDERS:
            return (
                f"the tenant's routes use {len(self._uses)} Providers, and this one "
                f"{len(gained)} more; the most is {MOST_PROVIDERS}"
            )
        if growth > 0 and self._size + growth > self._most_bytes:
            return (
                f"it needs {growth} bytes more of the tenant's configuration, where "
                f"{max(self._most_bytes - self._size, 0)} of {self._most_bytes} are left for routes and the "
                "models of their Providers"
            )
        return ""
