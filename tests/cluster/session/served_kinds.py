"""Reads which kinds an API server serves, of its aggregated discovery."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ACCEPTED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type to ask for at each of ROOTS."""
ROOTS: Final = ("/api", "/apis")


@dataclass(frozen=True, slots=True)
class ServedKind:
    """A kind as the API server serves it. version is that of apiVersion, with the group if there is one."""

    version: str
    kind: str
    singular: str
    plural: str
    short: tuple[str, ...]
    namespaced: bool

    @property
    def group(self) -> str:
        """Returns the group; empty for the core."""
        return self.version.rpartition("/")[0]

    def path(self, space: str, *below: str) -> str:
        """Returns the path of its objects in a namespace, in all of them if space is empty, or of one of them."""
        root = "/apis" if self.group else "/api"
        where = ("namespaces", space) if self.namespaced and space else ()
        return "/".join((root, self.version, *where, self.plural, *below))


def served(discovered: Mapping[str, Any]) -> Iterator[ServedKind]:
    """Yields the kinds of an answer of one of ROOTS, of each group the preferred version first."""
    for group in discovered["items"]:
        for version in group["versions"]:
            for one in version.get("resources", ()):
                # what has only subresources has no kind
                if "responseKind" in one:
                    yield ServedKind(
                        version="/".join(
                            filter(None, (group["metadata"].get("name"), version["version"]))
                        ),
                        kind=one["responseKind"]["kind"],
                        singular=one.get("singularResource", ""),
                        plural=one["resource"],
                        short=tuple(one.get("shortNames", ())),
                        namespaced=one["scope"] == "Namespaced",
                    )
