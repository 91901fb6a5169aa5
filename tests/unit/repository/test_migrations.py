"""The steps of the ledger's tables follow one another, so that every database comes to the last one."""

import re
from pathlib import Path

VERSIONS = Path(__file__).parents[3] / "operator/relay_ledger/store/migrations/versions"
NAMED = re.compile(r'^(revision|down_revision): Final = "(\d{4})"$', re.MULTILINE)


def test_each_step_has_a_number_of_its_own_and_follows_the_one_before() -> None:
    steps = sorted(VERSIONS.glob("v*.py"))
    numbers = [step.name[1:5] for step in steps]
    assert numbers == [f"{number:04d}" for number in range(1, len(steps) + 1)]
    for step, number in zip(steps[1:], numbers[1:], strict=True):
        named = dict(NAMED.findall(step.read_text()))
        assert named == {"revision": number, "down_revision": f"{int(number) - 1:04d}"}, step.name
