"""Tells of a Tenant whether everything that its grants name can be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay_operator.decisions.conditions import Condition, condition
from relay_operator.names import ConditionType, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedTools:
    """What a Tenant's grants come to. tools, prompts and resources count what is in force: definitions, and patterns.

    missing are servers that do not exist, unusable say of others why nothing of them is in force, unlisted are those whose lists
    were never read, unapproved those of which nothing that the grant names is approved. excess says why not all is in force.
    idle are names in idempotency and toolLimits, each with its server, that cover no tool in force.
    """

    servers: tuple[str, ...] = ()
    tools: int = 0
    prompts: int = 0
    resources: int = 0
    missing: tuple[str, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    unapproved: tuple[str, ...] = ()
    excess: str = ""
    idle: tuple[str, ...] = ()

    @property
    def condition(self) -> Condition:
        """The condition ToolsReady, by the first row that applies."""
        counted = (
            f"{self.tools} tools, {self.prompts} prompts and {self.resources} patterns of resources of "
            f"{', '.join(self.servers) or 'no server'} can be used"
        )
        if self.idle:
            counted += (
                f"; idempotency and toolLimits name {', '.join(self.idle)}, which is none of them"
            )
        unusable = "; ".join(f"ToolServer {one}: {why}" for one, why in self.unusable.items())
        rows: tuple[tuple[object, bool | None, Reason, str], ...] = (
            (
                self.missing,
                False,
                Reason.TOOL_SERVER_NOT_FOUND,
                f"there is no ToolServer {', '.join(self.missing)}; create it, or remove its grant from spec.tools",
            ),
            (unusable, False, Reason.TOOL_SERVER_NOT_READY, unusable),
            (self.excess, False, Reason.TOO_MANY_DEFINITIONS, self.excess),
            (
                self.unapproved,
                False,
                Reason.NOTHING_APPROVED,
                f"ToolServer {', '.join(self.unapproved)} has no approved tool or prompt that the grant names; compare the "
                "grant with its status.tools, or have its definitions approved",
            ),
            (
                self.unlisted,
                None,
                Reason.NOT_PROBED,
                f"the lists of ToolServer {', '.join(self.unlisted)} were not read yet; its conditions tell why",
            ),
            (True, True, Reason.GRANTED, counted),
        )
        _, holds, reason, message = next(row for row in rows if row[0])
        told = message if holds else f"{message}; {counted}"
        return condition(ConditionType.TOOLS_READY, holds, reason, reason, told)

    @property
    def is_stuck(self) -> bool:
        """Tells whether a person has to act."""
        return self.condition.status == "False"
