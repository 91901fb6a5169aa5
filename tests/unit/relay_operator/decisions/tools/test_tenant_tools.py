"""ToolsReady says first what a person has to do."""

from typing import Any

import pytest

from relay_operator.decisions.tools.tenant_tools import GrantedTools
from relay_operator.names import Reason

IN_FORCE: dict[str, Any] = {"servers": ("erp",), "tools": 2, "prompts": 1, "resources": 0}


@pytest.mark.parametrize(
    ("fields", "status", "reason", "says"),
    [
        ({}, "True", Reason.GRANTED, "2 tools, 1 prompts and 0 patterns of resources of erp"),
        ({"missing": ("crm",)}, "False", Reason.TOOL_SERVER_NOT_FOUND, "no ToolServer crm"),
        (
            {"unusable": {"crm": "there is no Service"}},
            "False",
            Reason.TOOL_SERVER_NOT_READY,
            "ToolServer crm: there is no Service",
        ),
        (
            {"idle": ("pya of erp", "delete_* of erp")},
            "True",
            Reason.GRANTED,
            "idempotency and toolLimits name pya of erp, delete_* of erp, which is none of them",
        ),
        ({"excess": "too many"}, "False", Reason.TOO_MANY_DEFINITIONS, "too many"),
        ({"unapproved": ("crm",)}, "False", Reason.NOTHING_APPROVED, "ToolServer crm has no"),
        ({"unlisted": ("crm",)}, "Unknown", Reason.NOT_PROBED, "were not read yet"),
        (
            {"unlisted": ("crm",), "missing": ("hr",)},
            "False",
            Reason.TOOL_SERVER_NOT_FOUND,
            "no ToolServer hr",
        ),
    ],
)
def test_each_trouble_has_its_row(
    fields: dict[str, Any], status: str, reason: Reason, says: str
) -> None:
    found = GrantedTools(**(IN_FORCE | fields)).condition
    assert (found.status, found.reason) == (status, reason)
    assert says in found.message
    assert "2 tools" in found.message
