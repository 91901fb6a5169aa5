"""What is left of a Tenant's grants when its newest spec, which is refused, grants less: a mistake elsewhere in it keeps nothing in force."""

from collections.abc import Mapping, Sequence
from typing import Any

from relay_contract.tools.manifest import MAX_PATTERNS
from relay_contract.tools.patterns import STAR, overlap
from relay_operator.api.tenant import ToolGrant, Tools


def left_of(tools: Tools | None, spec: Any) -> Tools | None:
    """Returns of the grants in force those that a spec, as somebody wrote it, still makes; all of them where it does not tell.

    A spec without `tools` takes everything away. What it adds is not there: it is refused.
    """
    written = _grants_in(spec)
    if tools is None or written is None:
        return tools
    newest = {one.get("server"): one for one in written if isinstance(one, Mapping)}
    narrowed = [_narrowed(one, newest.get(one.server, {})) for one in tools.grants]
    if sum(map(_patterns, narrowed)) > MAX_PATTERNS:
        # no document takes so many; what was one pattern before is not made several
        narrowed = [_only(one, had) for one, had in zip(narrowed, tools.grants, strict=True)]
    left = tuple(one for one in narrowed if one.tools or one.prompts or one.resources)
    return tools.model_copy(update={"grants": left})


def _grants_in(spec: Any) -> Sequence[Any] | None:
    """Returns the grants that somebody wrote; None where it does not tell."""
    tools = (spec.get("tools") or {}) if isinstance(spec, Mapping) else None
    written = tools.get("grants", ()) if isinstance(tools, Mapping) else None
    return written if isinstance(written, list | tuple) else None


def _narrowed(grant: ToolGrant, newest: Mapping[str, Any]) -> ToolGrant:
    patterns = {
        kind: _common(had, tuple(newest.get(kind) or ()))
        for kind, had in (
            ("tools", grant.tools),
            ("prompts", grant.prompts),
            ("resources", grant.resources),
        )
    }
    return grant.model_copy(update=patterns)


def _patterns(grant: ToolGrant) -> int:
    marked = 0 if grant.idempotency is None else len(grant.idempotency.tools)
    granted = len(grant.tools) + len(grant.prompts) + len(grant.resources)
    return granted + len(grant.tool_limits) + marked


def _only(grant: ToolGrant, had: ToolGrant) -> ToolGrant:
    """Returns the grant with those of its patterns alone that it had before."""
    patterns = {
        kind: tuple(one for one in left if one in before)
        for kind, left, before in (
            ("tools", grant.tools, had.tools),
            ("prompts", grant.prompts, had.prompts),
            ("resources", grant.resources, had.resources),
        )
    }
    return grant.model_copy(update=patterns)


def _common(had: tuple[str, ...], wanted: tuple[Any, ...]) -> tuple[str, ...]:
    """Returns patterns that cover what both cover: of two that overlap the narrower one, which is the longer but for a star."""
    found = [
        max(one, other, key=lambda pattern: (not pattern.endswith(STAR), len(pattern)))
        for one in had
        for other in wanted
        if isinstance(other, str) and overlap(one, other)
    ]
    return tuple(dict.fromkeys(found))
