"""The kinds of the operator, as crds/ defines them: what is told about each cannot leave out a new one."""

from pathlib import Path

import yaml

DEFINITIONS = Path(__file__).resolve().parents[2] / "crds"


def defined() -> dict[str, str]:
    """Returns the plural of each kind."""
    found = [yaml.safe_load(one.read_text())["spec"]["names"] for one in DEFINITIONS.glob("*.yaml")]
    return {names["kind"]: names["plural"] for names in found}
