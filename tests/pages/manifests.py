"""What the pages have in YAML for a reader to copy: whole objects, parts of a spec, grants of a Tenant, values of the chart.

The API server checks objects and parts (tests/contract/test_manifests_of_pages.py), helm the values (tests/chart/test_chart.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml
from tests.pages.blocks import ROOT, pages, yaml_of

VALUES: Final = frozenset(yaml.safe_load((ROOT / "charts/relay-operator/values.yaml").read_text()))
ELSEWHERE: Final = {
    "docs/how-to/gitops.md": "tests/ecosystem/argo_health.py",
    "docs/how-to/prometheus.md": "tests/unit/repository/test_documents.py",
}
"""Pages whose YAML is for other programs, and what reads it in the tests."""


class Form(StrEnum):
    """What a piece of YAML is."""

    OBJECT = "object"
    SPEC = "part of a spec"
    GRANTS = "grants of a Tenant"
    VALUES = "values of the chart"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A document of a block. place is where the block begins."""

    place: str
    form: Form
    content: Any


def copied() -> Iterator[Copied]:
    """Goes through all of them."""
    for page in pages():
        if page not in ELSEWHERE:
            for block in yaml_of(page):
                for content in yaml.safe_load_all(block.text):
                    yield Copied(place=block.place, form=_form(content), content=content)


def _form(content: Any) -> Form:
    if isinstance(content, list):
        of_grants = all(isinstance(one, dict) and "server" in one for one in content)
        return Form.GRANTS if of_grants else Form.UNKNOWN
    if not isinstance(content, dict):
        return Form.UNKNOWN
    if str(content.get("apiVersion", "")).startswith("relay-operator.dev/"):
        return Form.OBJECT
    if content.keys() == {"spec"}:
        return Form.SPEC
    return Form.VALUES if content.keys() <= VALUES else Form.UNKNOWN
