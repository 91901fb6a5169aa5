"""Grants of a Tenant -> what its document has of tools: the manifest, and the servers that it names."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from relay_contract.tools.definitions import WAITING, Definition, ResourceDefinition
from relay_contract.tools.manifest import (
    MAX_DEFINITIONS,
    MAX_REMEMBERED_SECONDS,
    Grant,
    Idempotency,
    Manifest,
    ToolLimit,
)
from relay_contract.tools.patterns import covers, covers_template
from relay_contract.tools.tool_server import SESSION_REVISIONS
from relay_contract.tools.tool_server import ToolServer as DocumentedServer
from relay_operator import names
from relay_operator.api.tenant import ToolGrant, Tools
from relay_operator.api.tool_server import ToolServer
from relay_operator.manifests.environment import Upstream

Resources = tuple[ResourceDefinition, ...] | None
"""What listed resources or templates are held to; None where they are held to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What tenants can have of a ToolServer. server is None while its spec cannot be used, upstream while it has no address.

    tools and prompts are the approved definitions, resources and templates what is listed of them, with what waits (None where they are held to
    nothing), entries the credential as an entry of a tenant's Secret. problem says why
    nobody can begin to use it; empty where somebody can. is_listed tells whether its lists were read once, revision by which
    revision of the protocol. of_tenants are credentials by Tenant, in place of entries, where each has its own.
    """

    server: ToolServer | None = None
    upstream: Upstream | None = None
    tools: tuple[Definition, ...] = ()
    prompts: tuple[Definition, ...] = ()
    resources: Resources = None
    templates: Resources = None
    entries: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    is_listed: bool = False
    revision: str = ""
    of_tenants: Mapping[str, str] | None = field(default=None, repr=False)

    def to(self, tenant: str, server: str) -> "Offer":
        """Returns what this Tenant can have of the server of this name: with its own credential, where each has one."""
        if self.of_tenants is None:
            return self
        own = self.of_tenants.get(tenant)
        if own is not None:
            return replace(self, entries={names.tool_server_entry(server): own}, of_tenants=None)
        problem = f"its Secret has no entry {tenant} that can be shown; add the Tenant's credential"
        return replace(self, of_tenants=None, problem=self.problem or problem)


Offers = Mapping[str, Offer | None]
"""By server, of those that exist; None of one that was not looked at since the operator's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What a document has of tools."""

    manifest: Manifest | None = None
    servers: tuple[DocumentedServer, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.manifest is None and not self.servers


NO_TOOLS: Final = ToolUse()


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A document's tools, and what of the grants is not in force.

    missing are servers that do not exist, problems say of others why nobody can begin to use them, unlisted were never read,
    unapproved have nothing approved that the grant names. excess says why nothing was added to what was in force.
    """

    use: ToolUse = NO_TOOLS
    missing: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    unapproved: tuple[str, ...] = ()
    excess: str = ""

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the servers in the document."""
        return tuple(one.name for one in self.use.servers)


def patterns_alone(tools: Tools | None) -> Manifest | None:
    """Composes the manifest as far as the spec alone decides it; raises ValidationError for one that could mean two things."""
    if tools is None:
        return None
    grants = tuple(_grant(one, _Defined()) for one in tools.grants)
    return Manifest(grants=grants, on_denied=tools.on_denied)


def granted(
    tools: Tools | None, offers: Offers, in_force: ToolUse, fits: Callable[[ToolUse], bool]
) -> Granted:
    """Composes a document's tools; with a manifest, also an empty one, wherever the spec speaks of tools. in_force are those of the document before it, fits tells what the next has room for.

    A server that cannot be used any more stays as it last was for whom it is in force, one that is gone does not. Where all
    together are too much nothing is added to what is in force; what is taken away goes all the same.
    """
    if tools is None:
        return Granted()
    reading = _Reading(offers, in_force)
    whole = reading.use(tools, is_bounded=False)
    excess = _excess(whole, fits)
    return Granted(
        use=whole if not excess else reading.use(tools, is_bounded=True),
        missing=tuple(one.server for one in tools.grants if one.server not in offers),
        problems=reading.problems(tools),
        unlisted=reading.unlisted(tools),
        unapproved=reading.unapproved(tools),
        excess=excess,
    )


def without_held(manifest: Manifest | None) -> Manifest | None:
    """Returns the manifest as relays know it that hold resources to nothing."""
    if manifest is None:
        return None
    bare = {"resource_definitions": None, "template_definitions": None}
    return manifest.model_copy(
        update={"grants": tuple(grant.model_copy(update=bare) for grant in manifest.grants)}
    )


class _Reading:
    def __init__(self, offers: Offers, in_force: ToolUse) -> None:
        self._offers = offers
        manifest = in_force.manifest
        self._grants = {one.server: one for one in (manifest.grants if manifest else ())}
        self._servers = {one.name: one for one in in_force.servers}

    def use(self, tools: Tools, *, is_bounded: bool) -> ToolUse:
        grants, servers = [], []
        for wanted in tools.grants:
            server = self._server(wanted.server, is_bounded=is_bounded)
            if server is not None:
                grants.append(self._granted(wanted, is_bounded=is_bounded))
                servers.append(server)
        ordered = tuple(sorted(servers, key=lambda one: one.name))
        # the patterns were checked with the spec, and a count of definitions that is too high is told of instead of raised
        manifest = Manifest.model_construct(grants=tuple(grants), on_denied=tools.on_denied)
        return ToolUse(manifest=manifest, servers=ordered)

    def problems(self, tools: Tools) -> dict[str, str]:
        """Says of servers that exist why nothing of them can come into force."""
        return {
            one.server: offer.problem
            for one in tools.grants
            if (offer := self._offers.get(one.server)) is not None and offer.problem
        }

    def unlisted(self, tools: Tools) -> tuple[str, ...]:
        return tuple(
            one.server
            for one in tools.grants
            if one.server in self._offers
            and ((offer := self._offers[one.server]) is None or not offer.is_listed)
        )

    def unapproved(self, tools: Tools) -> tuple[str, ...]:
        """Names the servers that were read, and have nothing approved that the grant names."""
        return tuple(
            one.server
            for one in tools.grants
            if (offer := self._offers.get(one.server)) is not None
            and offer.is_listed
            and (one.tools or one.prompts)
            and not _covered(one.tools, offer.tools)
            and not _covered(one.prompts, offer.prompts)
        )

    def _server(self, name: str, *, is_bounded: bool) -> DocumentedServer | None:
        if name not in self._offers:
            return None
        offer, known = self._offers[name], self._servers.get(name)
        is_usable = offer is not None and offer.server is not None and offer.upstream is not None
        if not is_usable or (known is not None and is_bounded):
            return known
        assert offer is not None
        assert offer.server is not None
        # one whose credential was never there would only be refused by the server
        return (
            None if offer.problem and known is None else server_part(offer.server, offer.revision)
        )

    def _granted(self, wanted: ToolGrant, *, is_bounded: bool) -> Grant:
        offer, known = self._offers[wanted.server], self._grants.get(wanted.server)
        had = _Defined() if known is None else _defined(known)
        if offer is None:
            return _grant(wanted, had)
        offered = _Defined(
            tools=offer.tools,
            prompts=offer.prompts,
            resources=offer.resources,
            templates=offer.templates,
        )
        return _grant(wanted, _still(offered, had) if is_bounded else offered)


def server_part(server: ToolServer, revision: str = "") -> DocumentedServer:
    """Composes a server for tenants' relays. Its credential is named, never contained. revision is the protocol's, empty while unknown."""
    auth = server.spec.auth
    name = server.metadata.name
    return DocumentedServer(
        name=name,
        url=server.url,
        key_file=names.tool_server_entry(name) if auth else None,
        header=auth.header if auth else "Authorization",
        scheme=auth.scheme if auth else "Bearer",
        ca_bundle=server.spec.ca_bundle,
        needs_sessions=revision in SESSION_REVISIONS,
    )


def _excess(use: ToolUse, fits: Callable[[ToolUse], bool]) -> str:
    grants = use.manifest.grants if use.manifest else ()
    count = sum(grant.definitions for grant in grants)
    if count > MAX_DEFINITIONS:
        return (
            f"the grants cover {count} approved tools, prompts and resources, and {MAX_DEFINITIONS} are the most of a Tenant; "
            "name fewer in spec.tools"
        )
    if not fits(use):
        return (
            "the tenant's configuration has no room for its tools beside its routes; name fewer tools in spec.tools, or "
            "remove routes"
        )
    return ""


def _grant(wanted: ToolGrant, defined: "_Defined") -> Grant:
    return Grant(
        server=wanted.server,
        prefix=wanted.prefix,
        tools=wanted.tools,
        prompts=wanted.prompts,
        resources=wanted.resources,
        requests_per_minute=wanted.requests_per_minute,
        tool_limits=tuple(
            ToolLimit(name=one.name, requests_per_minute=one.requests_per_minute)
            for one in wanted.tool_limits
        ),
        idempotency=_idempotency(wanted),
        context=wanted.context,
        tool_definitions=_covered(wanted.tools, defined.tools),
        prompt_definitions=_covered(wanted.prompts, defined.prompts),
        resource_definitions=_held(wanted.resources, defined.resources, covers),
        template_definitions=_held(wanted.resources, defined.templates, covers_template),
    )


def _idempotency(wanted: ToolGrant) -> Idempotency | None:
    marked = wanted.idempotency
    if marked is None:
        return None
    seconds = min(max(1, math.ceil(marked.window)), MAX_REMEMBERED_SECONDS)
    return Idempotency(tools=marked.tools, seconds=seconds)


def _covered(
    patterns: tuple[str, ...], definitions: tuple[Definition, ...]
) -> tuple[Definition, ...]:
    return tuple(
        one for one in definitions if any(covers(pattern, one.name) for pattern in patterns)
    )


def _held(
    patterns: tuple[str, ...], definitions: Resources, is_covered: Callable[[str, str], bool]
) -> Resources:
    """Returns what a grant's resources are held to; None of a grant without any."""
    if definitions is None or not patterns:
        return None
    return tuple(
        one for one in definitions if any(is_covered(pattern, one.name) for pattern in patterns)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Defined:
    """What is defined of a server, in an offer or in a grant."""

    tools: tuple[Definition, ...] = ()
    prompts: tuple[Definition, ...] = ()
    resources: Resources = None
    templates: Resources = None


def _defined(grant: Grant) -> _Defined:
    return _Defined(
        tools=grant.tool_definitions,
        prompts=grant.prompt_definitions,
        resources=grant.resource_definitions,
        templates=grant.template_definitions,
    )


def _still(offered: _Defined, had: _Defined) -> _Defined:
    """Returns what was there before and still is: nothing is added."""
    return _Defined(
        tools=tuple(one for one in offered.tools if one in had.tools),
        prompts=tuple(one for one in offered.prompts if one in had.prompts),
        resources=_still_held(offered.resources, had.resources),
        templates=_still_held(offered.templates, had.templates),
    )


def _still_held(offered: Resources, had: Resources) -> Resources:
    if offered is None or had is None:
        return had
    now = {one.name: one.digest for one in offered}
    return tuple(
        # another one that was approved since would be an addition
        one if now[one.name] == one.digest else ResourceDefinition(name=one.name, digest=WAITING)
        for one in had
        if one.name in now
    )
