"""All YAML on the pages is of a form that a test checks."""

from collections import Counter

from tests.pages.blocks import ROOT
from tests.pages.manifests import ELSEWHERE, Form, copied


def test_every_block_of_yaml_is_of_a_form_that_is_checked() -> None:
    found = list(copied())
    assert [one.place for one in found if one.form is Form.UNKNOWN] == []
    assert set(Counter(one.form for one in found)) == set(Form) - {Form.UNKNOWN}


def test_yaml_for_other_programs_is_read_by_a_test() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text(), page
