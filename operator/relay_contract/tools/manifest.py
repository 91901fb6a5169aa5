"""The manifest: what one tenant may use of which tool servers, under which names."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from relay_contract.part import Part
from relay_contract.tools.definitions import Definition, ResourceDefinition
from relay_contract.tools.patterns import (
    NamePattern,
    UriPattern,
    covers,
    covers_template,
    overlap,
)

MAX_GRANTS: Final = 16
MAX_PATTERNS: Final = 256
MAX_DEFINITIONS: Final = 256
"""Of all grants of a manifest together."""
MAX_MANIFEST_BYTES: Final = 128 * 1024
"""What a manifest takes of a document at most."""
REVISION_CHARACTERS: Final = 32
MAX_REMEMBERED_SECONDS: Final = 3600
"""The longest that a call is remembered which must not be carried out twice."""

ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,48}$")]
OnDenied = Literal["Hide", "Refuse"]
Context = Literal["Omit", "Inject"]


def _is_unset(value: object) -> bool:
    return value is None or value in ((), "")


def _is_none(value: object) -> bool:
    return value is None


def _is_omitted(value: object) -> bool:
    return value == "Omit"


class ToolLimit(Part):
    """A rate for the tools of a grant that name, a pattern, covers: one for all of them together."""

    name: NamePattern
    requests_per_minute: Annotated[int, Field(ge=1)]


class Idempotency(Part):
    """The tools of a grant whose calls must not be carried out twice: those that one of the patterns covers. A call is remembered for so many seconds."""

    tools: Annotated[tuple[NamePattern, ...], Field(min_length=1)]
    seconds: Annotated[int, Field(ge=1, le=MAX_REMEMBERED_SECONDS)]

    def seconds_of(self, tool: str) -> int:
        """Returns how long calls of the tool are remembered, 0 of one that may be carried out twice."""
        return self.seconds if any(covers(pattern, tool) for pattern in self.tools) else 0


class Grant(Part):
    """What a tenant may use of one server; what no pattern covers it may not.

    Patterns and definitions have the names that the server uses; callers see them behind the prefix. Of tools and prompts only
    those exist that are defined here, which are the approved ones. Resources and templates that a server lists are seen as they are defined
    here, and cannot be used while they wait; of what it does not list the patterns alone decide, and of everything where nothing is defined (None). requests_per_minute bounds what all pods
    together ask of the server for the tenant; None is without a limit. tool_limits bound calls of single tools beside it, and a
    call has to pass all that cover its tool. idempotency is of tools that have an effect each time. context says whether models are told of the tenant and
    of these tools.
    """

    server: ServerName
    prefix: Annotated[Prefix, Field(exclude_if=_is_unset)] = ""
    tools: Annotated[tuple[NamePattern, ...], Field(exclude_if=_is_unset)] = ()
    prompts: Annotated[tuple[NamePattern, ...], Field(exclude_if=_is_unset)] = ()
    resources: Annotated[tuple[UriPattern, ...], Field(exclude_if=_is_unset)] = ()
    tool_definitions: Annotated[tuple[Definition, ...], Field(exclude_if=_is_unset)] = ()
    prompt_definitions: Annotated[tuple[Definition, ...], Field(exclude_if=_is_unset)] = ()
    resource_definitions: Annotated[
        tuple[ResourceDefinition, ...] | None, Field(exclude_if=_is_none)
    ] = None
    template_definitions: Annotated[
        tuple[ResourceDefinition, ...] | None, Field(exclude_if=_is_none)
    ] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    tool_limits: Annotated[tuple[ToolLimit, ...], Field(exclude_if=_is_unset)] = ()
    idempotency: Annotated[Idempotency | None, Field(exclude_if=_is_unset)] = None
    context: Annotated[Context, Field(exclude_if=_is_omitted)] = "Omit"

    @property
    def patterns(self) -> int:
        """The number of its patterns, those of limits and of idempotency among them."""
        granted = len(self.tools) + len(self.prompts) + len(self.resources)
        marked = 0 if self.idempotency is None else len(self.idempotency.tools)
        return granted + len(self.tool_limits) + marked

    @property
    def definitions(self) -> int:
        """The number of its definitions."""
        resources = len(self.resource_definitions or ()) + len(self.template_definitions or ())
        return len(self.tool_definitions) + len(self.prompt_definitions) + resources

    @property
    def idle(self) -> tuple[str, ...]:
        """The patterns of idempotency and limits that cover none of its tools; none while it has no tools."""
        if not self.tool_definitions:
            return ()
        marked = () if self.idempotency is None else self.idempotency.tools
        named = dict.fromkeys((*marked, *(one.name for one in self.tool_limits)))
        return tuple(
            pattern
            for pattern in named
            if not any(covers(pattern, one.name) for one in self.tool_definitions)
        )

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> Self:
        for kind, stated in (
            ("tools", self.tools),
            ("prompts", self.prompts),
            ("resources", self.resources),
            ("toolLimits", [one.name for one in self.tool_limits]),
            ("idempotency", () if self.idempotency is None else self.idempotency.tools),
            ("toolDefinitions", [one.name for one in self.tool_definitions]),
            ("promptDefinitions", [one.name for one in self.prompt_definitions]),
            ("resourceDefinitions", [one.name for one in self.resource_definitions or ()]),
            ("templateDefinitions", [one.name for one in self.template_definitions or ()]),
        ):
            for name in _repeated(stated):
                raise ValueError(f"grant of {self.server}: {name} stands twice in {kind}")
        return self

    @model_validator(mode="after")
    def _defines_what_it_grants(self) -> Self:
        """Refuses definitions that no pattern covers: a document names nothing that its tenant may not know of."""
        resources, templates = self.resource_definitions or (), self.template_definitions or ()
        for kind, patterns, definitions, is_covered in (
            ("tools", self.tools, self.tool_definitions, covers),
            ("prompts", self.prompts, self.prompt_definitions, covers),
            ("resources", self.resources, resources, covers),
            ("resources", self.resources, templates, covers_template),
        ):
            for definition in definitions:
                if not any(is_covered(pattern, definition.name) for pattern in patterns):
                    raise ValueError(
                        f"grant of {self.server}: {definition.name} is defined, and no pattern of {kind} covers it"
                    )
        return self


class Manifest(Part):
    """Everything that a tenant may use of tool servers.

    No name or URI means two things, whatever the servers list: a manifest in which patterns of two grants could cover the same
    is refused. on_denied says what becomes of a chat call that offers a model other tools.
    """

    grants: Annotated[tuple[Grant, ...], Field(max_length=MAX_GRANTS)] = ()
    on_denied: OnDenied = "Hide"

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        for noun, count, most in (
            ("patterns", sum(grant.patterns for grant in self.grants), MAX_PATTERNS),
            ("definitions", sum(grant.definitions for grant in self.grants), MAX_DEFINITIONS),
        ):
            if count > most:
                raise ValueError(
                    f"{count} {noun} in all grants together, at most {most} are allowed"
                )
        return self

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        for server in _repeated(grant.server for grant in self.grants):
            raise ValueError(f"server {server} has two grants; write them as one")
        for one, other in combinations(self.grants, 2):
            for kind, mine, theirs in (
                ("tools", _published(one.prefix, one.tools), _published(other.prefix, other.tools)),
                (
                    "prompts",
                    _published(one.prefix, one.prompts),
                    _published(other.prefix, other.prompts),
                ),
                ("resources", one.resources, other.resources),
            ):
                _refuse_overlap(kind, (one.server, mine), (other.server, theirs))
        return self


def revision(manifest: Manifest, tenant_uid: str) -> str:
    """Returns the manifest's revision: equal for equal manifests of one tenant, and no other tenant's."""
    content = {"tenant": tenant_uid, "manifest": manifest.model_dump(mode="json", by_alias=True)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_CHARACTERS]


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _published(prefix: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(prefix + pattern for pattern in patterns)


def _refuse_overlap(
    kind: str, one: tuple[str, tuple[str, ...]], other: tuple[str, tuple[str, ...]]
) -> None:
    for mine in one[1]:
        for theirs in other[1]:
            if overlap(mine, theirs):
                way_out = (
                    "narrow one of them" if kind == "resources" else "give one of them a prefix"
                )
                raise ValueError(
                    f"{kind} of {one[0]} and {other[0]} overlap: {mine} and {theirs} can cover the same; {way_out}"
                )
