"""Definitions of what a ToolServer has, tools, prompts, resources and templates of resources, each held to what it was when it was approved.

What the first look finds is approved with it. What is another later, or was not there, waits: a server that changes a description
after it was reviewed could lead every model that reads it (the field's word is a rug pull).
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from relay_contract.tools.definitions import WAITING, Definition, ResourceDefinition
from relay_operator.decisions.tools.steadiness import ALL_REST, Restless

MOST_DEFINITIONS: Final = 512
"""Of a server, tools and prompts together; of each kind as many more are remembered that it lists no more."""
MOST_RESOURCES: Final = 256
"""Of a server, resources and templates together; of each kind as many more are remembered that it lists no more."""
_TOKEN_CHARACTERS: Final = 64
"""All of the hash: a server that could choose two definitions with one token would have the second approved with the first."""


class State(StrEnum):
    """Says where a definition stands."""

    APPROVED = "Approved"
    CHANGED = "Changed"
    ADDED = "Added"
    GONE = "Gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A tool or prompt by its name, a resource by its URI, a template by itself. approved and found are digests: as it was approved, and as the server lists it now; empty without."""

    name: str
    approved: str = ""
    found: str = ""

    @property
    def state(self) -> State:
        """Where it stands. One that is approved and not listed stays approved: what comes back has to be the same."""
        if not self.approved:
            return State.ADDED
        if not self.found:
            return State.GONE
        return State.APPROVED if self.found == self.approved else State.CHANGED

    @property
    def waits(self) -> bool:
        """Tells whether somebody has to approve it."""
        return self.state in (State.ADDED, State.CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """All definitions of a server, by name. Resources and templates are None as long as their lists were never read."""

    tools: tuple[Pin, ...] = ()
    prompts: tuple[Pin, ...] = ()
    resources: tuple[Pin, ...] | None = None
    templates: tuple[Pin, ...] | None = None

    @property
    def all(self) -> tuple[tuple[str, Pin], ...]:
        """Every one, with its kind."""
        return (
            *(("tool", pin) for pin in self.tools),
            *(("prompt", pin) for pin in self.prompts),
            *(("resource", pin) for pin in self.resources or ()),
            *(("template", pin) for pin in self.templates or ()),
        )

    @property
    def unread(self) -> frozenset[str]:
        """The kinds whose lists were never read: what the first look finds of them is no news."""
        kinds = {"resource": self.resources, "template": self.templates}
        return frozenset(kind for kind, pins in kinds.items() if pins is None)

    @property
    def all_by_name(self) -> dict[tuple[str, str], Pin]:
        """Every one by kind and name."""
        return {(kind, pin.name): pin for kind, pin in self.all}

    @property
    def waiting(self) -> tuple[tuple[str, Pin], ...]:
        """Those that somebody has to approve."""
        return tuple((kind, pin) for kind, pin in self.all if pin.waits)

    @property
    def token(self) -> str:
        """What approves all that waits in place of what was approved, and nothing that comes to wait after it; empty where nothing does."""
        if not self.waiting:
            return ""
        text = repr([(kind, pin.name, pin.approved, pin.found) for kind, pin in self.waiting])
        return hashlib.sha256(text.encode()).hexdigest()[:_TOKEN_CHARACTERS]

    @property
    def summary(self) -> str:
        """How many of the listed ones are approved, and how many are listed."""
        listed = [pin for _, pin in self.all if pin.found]
        return f"{sum(not pin.waits for pin in listed)}/{len(listed)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a server lists: digests by name. Resources and templates are None where they could not be read, or are too many to be held."""

    tools: Mapping[str, str]
    prompts: Mapping[str, str]
    resources: Mapping[str, str] | None = None
    templates: Mapping[str, str] | None = None

    @property
    def all_by_name(self) -> dict[tuple[str, str], str]:
        """Every digest by kind and name."""
        kinds = {
            "tool": self.tools,
            "prompt": self.prompts,
            "resource": self.resources or {},
            "template": self.templates or {},
        }
        return {
            (kind, name): digest
            for kind, listed in kinds.items()
            for name, digest in listed.items()
        }


def settled(
    known: Pins | None, found: Found, *, accepts: bool, approval: str, restless: Restless = ALL_REST
) -> Pins:
    """Returns the definitions after a look. known is None before the first one; the first that finds any approves them.

    approval is the token that somebody has set; accepts tells that whatever is listed is approved. Those that are restless wait
    as what they were first suspended for, whatever they are listed as, and are not accepted unseen.
    """
    before = known.all_by_name if known else {}
    held = {
        name: _suspended(before[name], digests)
        for name, digests in restless.items()
        if name in before and before[name].approved
    }
    former = known or Pins()
    looked = Pins(
        tools=_looked(former.tools, found.tools, _of_kind("tool", held)),
        prompts=_looked(former.prompts, found.prompts, _of_kind("prompt", held)),
        resources=_resources(former.resources, found.resources, _of_kind("resource", held)),
        templates=_resources(former.templates, found.templates, _of_kind("template", held)),
    )
    # a server that only starts may list nothing yet
    if not former.all or (approval and approval == looked.token):
        return _all_approved(looked, {})
    return _all_approved(looked, held) if accepts else looked


def in_force(pins: Iterable[Pin]) -> tuple[Definition, ...]:
    """Returns what tenants can be granted: what is approved, and no other than that by the last look."""
    return tuple(
        Definition(name=pin.name, digest=pin.approved)
        for pin in pins
        if pin.state in (State.APPROVED, State.GONE)
    )


def resources_in_force(pins: Iterable[Pin] | None) -> tuple[ResourceDefinition, ...] | None:
    """Returns what relays hold the listed resources to: what is approved, and what waits as waiting. None where nothing is held to anything."""
    if pins is None:
        return None
    return tuple(
        ResourceDefinition(name=pin.name, digest=WAITING if pin.waits else pin.approved)
        for pin in pins
        # of what is not listed the grants' patterns decide
        if pin.found
    )


def to_status(pins: Iterable[Pin]) -> list[dict[str, str]]:
    """Lays definitions out as the custom resource has them."""
    return [
        {"name": pin.name, "state": pin.state.value}
        | ({"digest": pin.approved} if pin.approved else {})
        | ({"found": pin.found} if pin.waits else {})
        for pin in pins
    ]


def from_status(status: Mapping[str, Any]) -> Pins | None:
    """Reads the definitions of a status; None before the first look."""
    if "definitions" not in status:
        return None
    resources, templates = status.get("resources"), status.get("templates")
    return Pins(
        tools=_read(status.get("tools") or ()),
        prompts=_read(status.get("prompts") or ()),
        resources=None if resources is None else _read(resources),
        templates=None if templates is None else _read(templates),
    )


def _read(listed: Iterable[Mapping[str, str]]) -> tuple[Pin, ...]:
    return tuple(
        Pin(
            name=one["name"],
            approved=one.get("digest", ""),
            found=one.get("found")
            or (one.get("digest", "") if one.get("state") == State.APPROVED else ""),
        )
        for one in listed
    )


def _suspended(pin: Pin, digests: tuple[str, str]) -> str:
    """Returns the digest that a definition waits as: another than the approved one, and the same from look to look."""
    if pin.state is State.CHANGED:
        return pin.found
    return next(digest for digest in digests if digest != pin.approved)


def _of_kind(kind: str, held: Mapping[tuple[str, str], str]) -> dict[str, str]:
    return {name: digest for (of_kind, name), digest in held.items() if of_kind == kind}


def _resources(
    known: tuple[Pin, ...] | None, found: Mapping[str, str] | None, held: Mapping[str, str]
) -> tuple[Pin, ...] | None:
    """Returns resources or templates after a look; the first that reads their list approves them. What cannot be read now stays as it was."""
    if found is None:
        return known
    looked = _looked(known or (), found, held, most=MOST_RESOURCES)
    return _approved(looked) if known is None else looked


def _all_approved(pins: Pins, but: Mapping[tuple[str, str], str]) -> Pins:
    resources, templates = pins.resources, pins.templates
    return Pins(
        tools=_approved(pins.tools, but=_of_kind("tool", but)),
        prompts=_approved(pins.prompts, but=_of_kind("prompt", but)),
        resources=None
        if resources is None
        else _approved(resources, but=_of_kind("resource", but)),
        templates=None
        if templates is None
        else _approved(templates, but=_of_kind("template", but)),
    )


def _looked(
    known: Iterable[Pin],
    found: Mapping[str, str],
    held: Mapping[str, str],
    *,
    most: int = MOST_DEFINITIONS,
) -> tuple[Pin, ...]:
    before = {pin.name: pin for pin in known}
    listed = {
        name: replace(before.get(name) or Pin(name=name), found=held.get(name, digest))
        for name, digest in found.items()
    }
    # what was suspended stays so when it is left out of the list: a call would reach it all the same
    gone = [
        pin if pin.state is State.CHANGED else replace(pin, found="")
        for name, pin in before.items()
        if name not in found and pin.approved
    ]
    kept = {pin.name: pin for pin in gone[:most]}
    return tuple(pin for _, pin in sorted((listed | kept).items()))


def _approved(pins: Iterable[Pin], *, but: Collection[str] = ()) -> tuple[Pin, ...]:
    return tuple(
        pin if pin.name in but else replace(pin, approved=pin.found or pin.approved) for pin in pins
    )
