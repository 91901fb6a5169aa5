"""docs/conditions.md lists exactly the conditions and reasons of the code."""

import re
from pathlib import Path

from relay_operator.names import ConditionType, Reason

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "conditions.md").read_text()


def listed(section: str) -> list[str]:
    text = PAGE.split(f"## {section}", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


def test_every_condition_type_is_explained_once() -> None:
    assert sorted(listed("Types")) == sorted(ConditionType)


def test_every_reason_is_explained_once() -> None:
    assert sorted(listed("Reasons")) == sorted(Reason)
