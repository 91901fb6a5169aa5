"""Words in code type of the pages are words of the product: reasons, conditions, phases, codes of refusals, fields."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.pages import blocks
from tests.pages.blocks import ROOT

from relay.dialect.refusals import Refusal
from relay_contract.preflight import PREFLIGHT_REASONS
from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.names import ConditionType, Reason

GUIDES = [
    page
    for page in (*blocks.pages(), "SECURITY.md")
    # those name classes of the code, what was measured, or what is written from a source
    if page != "docs/architecture.md"
    and not page.startswith(("docs/adr/", "docs/results/", "docs/reference/", "charts/"))
]
KUBERNETES = {"Pending", "NetworkPolicy", "NetworkPolicies", "True", "False", "RuntimeDefault"}
LOGGED = {"RELAY_LEDGER_DATABASE", "database_away", "relay_outbox_deliveries_total"}
"""Words of the ledger's log, and of metrics."""
PLATFORM_ACTS_ON = {401, 403, 429, 502, 503, 504}


def enums(schema: Any) -> Iterator[str]:
    """Yields every value of every enumeration in a schema, and the name of every field."""
    if isinstance(schema, dict):
        yield from (str(one) for one in schema.get("enum", ()))
        yield from schema.get("properties", {})
        for inner in schema.values():
            yield from enums(inner)
    if isinstance(schema, list):
        for inner in schema:
            yield from enums(inner)


DEFINITIONS = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
FIELDS = {word for one in DEFINITIONS for word in enums(one)}
TEMPLATES = (ROOT / "charts/relay-operator/templates").glob("_*alerts.tpl")
ALERTS = {word for path in TEMPLATES for word in re.findall(r"\bRelay[A-Z]\w+", path.read_text())}
KINDS = {one["spec"]["names"]["kind"] for one in DEFINITIONS}
KNOWN = {
    *PREFLIGHT_REASONS,
    *Outcome,
    *ConditionType,
    *Reason,
    *FIELDS,
    *ALERTS,
    *KINDS,
    *KUBERNETES,
}
CODES = {one.value.code for one in Refusal}


def code_words(page: str) -> set[str]:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("page", GUIDES)
def test_every_reason_and_phase_in_a_guide_exists(page: str) -> None:
    named = {word for word in code_words(page) if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*", word)}
    assert named - KNOWN == set()


def test_the_symptoms_have_every_code_that_somebody_of_the_platform_can_act_on() -> None:
    named = {word for word in code_words("docs/troubleshooting.md") if "_" in word} - LOGGED
    assert named - CODES == set()
    # what else a relay refuses is the caller's own mistake, and the message says which
    acted_on = {one.value.code for one in Refusal if one.value.status in PLATFORM_ACTS_ON}
    assert acted_on - named == set()


def test_no_symptom_stands_twice() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    symptoms = re.findall(r"^\| (.+?) \| ", text, re.MULTILINE)
    assert len(symptoms) > 60
    heads = {
        "status, code",
        "reason",
        "the log says",
        "condition, reason",
        "you see",
        "it says",
        "message has",
    }
    assert {one for one in symptoms if symptoms.count(one) > 1} <= heads


@pytest.mark.parametrize("page", GUIDES)
def test_every_field_in_a_guide_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    paths = re.findall(r"`((?:spec|status)\.[\w.]+)`", text)
    absent = [path for path in paths if not set(path.split(".")[1:]) <= FIELDS]
    assert absent == []
