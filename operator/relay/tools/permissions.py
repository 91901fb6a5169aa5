"""A manifest made ready for decisions: each is a few look-ups, whether a name is granted, denied or unknown."""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from relay_contract.tools.definitions import WAITING, Definition, ResourceDefinition
from relay_contract.tools.manifest import Grant, Manifest, revision
from relay_contract.tools.patterns import STAR, covers

_UNPLAIN: Final = re.compile(
    r"[^!-~]|\\|%(?:2[ef]|5c|25|[01][0-9a-f]|7f)|[/:]\.{1,2}(?:[/?#;]|$)", re.IGNORECASE
)
"""What servers resolve differently: dot segments, encoded dots, slashes, percent signs and control characters."""


class ListKind(Enum):
    """What servers have lists of."""

    TOOLS = "tools"
    PROMPTS = "prompts"
    RESOURCES = "resources"
    TEMPLATES = "templates"


class Permitted:
    """Something that a tenant may use: at which server, by which name there, and the pattern that says so.

    digest is the approved definition's; empty of a resource, which has none. remembered_seconds is how long calls of a tool are
    remembered that must not be carried out twice; 0 where they may be.
    """

    __slots__ = ("digest", "name", "remembered_seconds", "rule", "server")

    def __init__(
        self, server: str, name: str, rule: str, digest: str = "", remembered_seconds: int = 0
    ) -> None:
        self.remembered_seconds = remembered_seconds
        self.server = server
        self.name = name
        self.rule = rule
        self.digest = digest


class Published:
    """What a server's own name stands for in the tenant's lists, and the digest that it has to have."""

    __slots__ = ("digest", "name")

    def __init__(self, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest


class Permissions:
    """What one manifest permits, and its revision. Names are those that callers see.

    reached are the servers whose lists can be asked for; None for all of them.
    """

    __slots__ = (
        "_below",
        "_below_lengths",
        "_by_length",
        "_digests",
        "_exact_resources",
        "_held",
        "_lengths",
        "_published",
        "_servers",
        "prompts",
        "revision",
        "tools",
    )

    def __init__(
        self, manifest: Manifest, tenant_uid: str, reached: frozenset[str] | None = None
    ) -> None:
        self.revision = revision(manifest, tenant_uid)
        self.tools: dict[str, Permitted] = {}
        self.prompts: dict[str, Permitted] = {}
        self._exact_resources: dict[str, Permitted] = {}
        self._by_length: dict[int, dict[str, Permitted]] = {}
        self._published: dict[tuple[ListKind, str], dict[str, Published]] = {}
        # no URI is of two servers, since no two grants cover the same
        self._digests: dict[ListKind, dict[str, str]] = {
            ListKind.RESOURCES: {},
            ListKind.TEMPLATES: {},
        }
        self._held: set[tuple[ListKind, str]] = set()
        self._below: dict[str, bool] = {}
        self._servers: dict[ListKind, tuple[str, ...]] = dict.fromkeys(ListKind, ())
        for grant in manifest.grants:
            self._define(ListKind.TOOLS, grant, grant.tools, grant.tool_definitions)
            self._define(ListKind.PROMPTS, grant, grant.prompts, grant.prompt_definitions)
            for pattern in grant.resources:
                self._grant_resources(grant.server, pattern)
            self._hold(ListKind.RESOURCES, grant.server, grant.resource_definitions)
            self._hold(ListKind.TEMPLATES, grant.server, grant.template_definitions)
        self._lengths = sorted(self._by_length, reverse=True)
        self._below_lengths = sorted({len(literal) for literal in self._below}, reverse=True)
        if reached is not None:
            for kind, servers in self._servers.items():
                self._servers[kind] = tuple(one for one in servers if one in reached)

    def servers(self, kind: ListKind) -> tuple[str, ...]:
        """Returns the servers whose lists of this kind can have something for the tenant, in the manifest's order."""
        return self._servers[kind]

    def all_servers(self) -> tuple[str, ...]:
        """Returns the servers that have anything for the tenant, in the manifest's order of their kinds."""
        return tuple(dict.fromkeys(one for kind in ListKind for one in self._servers[kind]))

    def published(self, kind: ListKind, server: str) -> dict[str, Published]:
        """Returns what of the server's tools or prompts the tenant may see, by the server's own names."""
        return self._published.get((kind, server), {})

    def listed(self, kind: ListKind, server: str, name: str, digest: str) -> bool:
        """Returns whether a resource or template may be seen in the server's list as it stands there, by its digest."""
        return (kind, server) not in self._held or self._digests[kind].get(name) == digest

    def resource(self, uri: str) -> Permitted | None:
        """Returns the grant of a resource, unless that waits for an approval.

        One that stands in the manifest letter by letter counts as it is; by a pattern only a URI that every server resolves
        alike. The same is done for each that is not there, since the time must not tell a suspended one from one that nobody has.
        """
        exact = self._exact_resources.get(uri)
        granted = self._by_prefix(uri)
        is_plain = _UNPLAIN.search(uri) is None
        waits = self._waits(uri)
        if waits or (exact is None and (granted is None or not is_plain)):
            return None
        return exact if granted is None or exact is not None else _named(granted, uri)

    def template(self, template: str) -> Permitted | None:
        """Returns the grant that covers every URI of a template (RFC 6570), as far as the template itself can tell.

        One without a variable makes a single URI, which it is itself.
        """
        literal, brace, _ = template.partition("{")
        waits = self._digests[ListKind.TEMPLATES].get(template) == WAITING
        if not brace:
            resource = self.resource(template)
            return None if waits else resource
        granted = self._by_prefix(literal)
        is_plain = _UNPLAIN.search(literal) is None
        return None if granted is None or waits or not is_plain else _named(granted, template)

    def _waits(self, uri: str) -> bool:
        """Returns whether a resource is suspended: as it is listed, or by the template that says most of its URI."""
        of_template = self._digests[ListKind.TEMPLATES].get(uri)
        digest = self._digests[ListKind.RESOURCES].get(uri, of_template)
        by_template: bool | None = None
        for length in self._below_lengths:
            found = self._below.get(uri[:length])
            if by_template is None:
                by_template = found
        return bool(by_template) if digest is None else digest == WAITING

    def _hold(
        self, kind: ListKind, server: str, definitions: tuple[ResourceDefinition, ...] | None
    ) -> None:
        if definitions is None:
            return
        self._held.add((kind, server))
        self._digests[kind].update({one.name: one.digest for one in definitions})
        if kind is ListKind.TEMPLATES:
            for one in definitions:
                literal, brace, _ = one.name.partition("{")
                if brace:
                    # of two that begin alike nobody can tell which one a URI is made by: what was approved stays
                    self._below[literal] = self._below.get(literal, True) and one.digest == WAITING

    def _by_prefix(self, text: str) -> Permitted | None:
        """Returns the longest pattern that covers what begins so."""
        found: Permitted | None = None
        for length in self._lengths:
            granted = self._by_length[length].get(text[:length])
            if found is None:
                found = granted
        return found

    def _define(
        self,
        kind: ListKind,
        grant: Grant,
        patterns: tuple[str, ...],
        definitions: Iterable[Definition],
    ) -> None:
        server, prefix = grant.server, grant.prefix
        idempotency = grant.idempotency if kind is ListKind.TOOLS else None
        permitted = self.tools if kind is ListKind.TOOLS else self.prompts
        seen: dict[str, Published] = {}
        for definition in definitions:
            rule = next(one for one in patterns if covers(one, definition.name))
            name = prefix + definition.name
            seconds = 0 if idempotency is None else idempotency.seconds_of(definition.name)
            permitted[name] = Permitted(server, definition.name, rule, definition.digest, seconds)
            seen[definition.name] = Published(name, definition.digest)
        if seen:
            self._published[(kind, server)] = seen
            self._servers[kind] += (server,)

    def _grant_resources(self, server: str, pattern: str) -> None:
        granted = Permitted(server, pattern, pattern)
        if pattern.endswith(STAR):
            prefix = pattern[:-1]
            self._by_length.setdefault(len(prefix), {})[prefix] = granted
        else:
            self._exact_resources[pattern] = granted
        for kind in (ListKind.RESOURCES, ListKind.TEMPLATES):
            if server not in self._servers[kind]:
                self._servers[kind] += (server,)


def _named(granted: Permitted, name: str) -> Permitted:
    return Permitted(granted.server, name, granted.rule)
