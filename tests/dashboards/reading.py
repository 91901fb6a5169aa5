"""What a dashboard asks Prometheus for: the expressions of its panels, marks and variables, by names a person finds them by."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One question: where it stands, and its expression with variables still in it."""

    board: str
    panel: str
    legend: str
    expr: str

    @property
    def name(self) -> tuple[str, str, str]:
        """Returns what names it."""
        return self.board, self.panel, self.legend

    def filled(self, variables: Mapping[str, str]) -> str:
        """Returns the expression with the values of variables in it."""
        expr = self.expr
        for name, value in sorted(variables.items(), reverse=True):
            expr = expr.replace(f"${name}", value)
        assert "$" not in expr, expr
        return expr


def asked(board: dict[str, Any]) -> Iterator[Asked]:
    """Goes through all that a dashboard asks for."""
    name = board["uid"]
    for panel in board["panels"]:
        for target in panel.get("targets") or ():
            yield Asked(name, panel["title"], target["legendFormat"], target["expr"])
    for mark in board["annotations"]["list"]:
        yield Asked(name, "marks", mark["name"], mark["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"])
            assert found is not None, variable["query"]
            yield Asked(name, "variables", variable["name"], f"group by ({found[2]}) ({found[1]})")
