"""Grants that a refused spec does not make any more go all the same, and nothing that it adds comes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.tools.patterns import covers
from relay_operator.api.tenant import ToolGrant, Tools
from relay_operator.decisions.tools.withdrawal import left_of

IN_FORCE = Tools(
    grants=(
        ToolGrant(server="erp", tools=("read_*", "pay"), prompts=("ask",), prefix="erp_"),
        ToolGrant(server="mail", tools=("send",), resources=("mail://in/*",)),
    )
)
PATTERNS = st.lists(
    st.builds(lambda name, star: name + star, st.text("ab", min_size=1, max_size=3), st.sampled_from(["", "*"])),
    max_size=4, unique=True,
)  # fmt: skip
NAMES = ("a", "b", "aa", "ab", "ba", "bb", "aab", "aba", "abba", "baba", "aaaa")


def left(spec: Any) -> dict[str, list[tuple[str, ...]]]:
    found = left_of(IN_FORCE, spec)
    assert found is not None
    return {one.server: [one.tools, one.prompts, one.resources] for one in found.grants}


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([{"server": "erp", "tools": ["pay"]}], {"erp": [("pay",), (), ()]}),
        ([{"server": "erp", "tools": ["read_x", "read_y*"]}], {"erp": [("read_x", "read_y*"), (), ()]}),
        ([{"server": "erp", "tools": ["*"]}], {"erp": [("read_*", "pay"), (), ()]}),
        ([{"server": "erp", "prompts": ["ask", "tell"]}, {"server": "new", "tools": ["x"]}], {"erp": [(), ("ask",), ()]}),
        ([{"server": "mail", "resources": ["mail://in/a", "mail://out/*"]}], {"mail": [(), (), ("mail://in/a",)]}),
        ([{"server": "mail", "tools": ["pay"]}], {}),
        ([], {}),
    ],
)  # fmt: skip
def test_what_the_newest_spec_does_not_grant_goes(
    grants: list[Any], expected: dict[str, Any]
) -> None:
    assert left({"tools": {"grants": grants}}) == expected


def test_a_spec_without_tools_takes_everything_and_keeps_the_manifest() -> None:
    assert left({}) == left({"tools": None}) == left({"tools": {}}) == {}
    assert left_of(None, {"tools": {"grants": [{"server": "erp", "tools": ["*"]}]}}) is None


def test_no_more_patterns_are_left_than_a_document_takes() -> None:
    had = Tools(grants=(ToolGrant(server="erp", tools=("a*", *(f"b{n}" for n in range(200)))),))
    wanted = ["b*", *(f"a{n}" for n in range(200))]
    found = left_of(had, {"tools": {"grants": [{"server": "erp", "tools": wanted}]}})
    assert found is not None
    assert found.grants[0].tools == had.grants[0].tools[1:]


@pytest.mark.parametrize(
    "spec", [None, "x", {"tools": "x"}, {"tools": {"grants": "all"}}, {"tools": {"grants": 7}}]
)
def test_a_spec_that_does_not_tell_takes_nothing(spec: Any) -> None:
    assert left_of(IN_FORCE, spec) == IN_FORCE


def test_the_rest_of_a_grant_stays() -> None:
    found = left_of(IN_FORCE, {"tools": {"grants": [{"server": "erp", "tools": ["pay", 7]}]}})
    assert found is not None
    assert [one.prefix for one in found.grants] == ["erp_"]


@given(had=PATTERNS, wanted=PATTERNS)
def test_a_name_is_left_if_both_cover_it_and_no_other(had: list[str], wanted: list[str]) -> None:
    tools = Tools(grants=(ToolGrant(server="erp", tools=tuple(had)),))
    found = left_of(tools, {"tools": {"grants": [{"server": "erp", "tools": wanted}]}})
    assert found is not None
    patterns = found.grants[0].tools if found.grants else ()
    for name in NAMES:
        both = any(covers(one, name) for one in had) and any(covers(one, name) for one in wanted)
        assert any(covers(one, name) for one in patterns) == both
