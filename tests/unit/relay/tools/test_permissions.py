"""Permissions: what a manifest grants, under which names, and that no spelling gets around a pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import ERP, MAIL, MANIFEST, PERMISSIONS, approved, prompt, tool

from relay.tools.permissions import ListKind, Permissions
from relay_contract.tools.manifest import Grant, Manifest, revision
from relay_contract.tools.patterns import covers

URIS = st.sampled_from(["file:///reports/", "file:///", "memo://rates", "mail://inbox/", "x:"])


def test_a_tool_is_granted_by_pattern_and_definition_under_its_published_name() -> None:
    granted = PERMISSIONS.tools["mail__send"]
    assert (granted.server, granted.name, granted.rule) == ("mail", "send", "*")
    assert PERMISSIONS.tools["list_invoices"].rule == "list_*"
    assert set(PERMISSIONS.tools) == {
        "read_invoice",
        "list_invoices",
        "list_orders",
        "mail__send",
        "mail__list_invoices",
    }
    assert set(PERMISSIONS.prompts) == {"summarise", "mail__reply"}


def test_a_name_without_an_approved_definition_is_not_there() -> None:
    grant = Grant(server="erp", tools=("*",), tool_definitions=approved(tool("a")))
    permissions = Permissions(Manifest(grants=(grant,)), "t")
    assert set(permissions.tools) == {"a"}
    assert permissions.servers(ListKind.PROMPTS) == ()


@given(names=st.lists(st.text("abl_*", min_size=1, max_size=5), max_size=8, unique=True))
def test_exactly_the_defined_names_under_patterns_are_granted(names: list[str]) -> None:
    plain = [name for name in names if "*" not in name]
    patterns = tuple(
        dict.fromkeys(name[: name.index("*")] + "*" if "*" in name else name for name in names)
    )
    defined = [tool(name) for name in plain if any(covers(one, name) for one in patterns)]
    grant = Grant(server="s", prefix="p.", tools=patterns, tool_definitions=approved(*defined))
    permissions = Permissions(Manifest(grants=(grant,)), "t")
    assert set(permissions.tools) == {"p." + one["name"] for one in defined}
    for name, granted in permissions.tools.items():
        assert name == "p." + granted.name
        assert covers(granted.rule, granted.name)


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("file:///reports/2026/q3.csv", "erp"),
        ("file:///reports/", "erp"),
        ("file:///reports/a..b/...c", "erp"),
        ("file:///reports/caf%C3%A9", "erp"),
        ("memo://rates", "erp"),
        ("mail://inbox/7?part=1", "mail"),
    ],
)
def test_resources_under_a_pattern_are_granted(uri: str, server: str) -> None:
    granted = PERMISSIONS.resource(uri)
    assert granted is not None
    assert (granted.server, granted.name) == (server, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "FILE:///reports/a",
        "file:///Reports/a",
        "memo://rates/",
        "file:///reports/../../etc/passwd",
        "file:///reports/..",
        "file:///reports/./a",
        "file:///reports/..;/a",
        "file:///reports/..?x",
        "file:///reports/%2e%2e/etc",
        "file:///reports/%2E%2E%2Fetc",
        "file:///reports/%252e%252e/etc",
        "file:///reports/..%2fetc",
        "file:///reports/..%5cetc",
        "file:///reports/..\\etc",
        "file:///reports/a\n",
        "file:///reports/a%00",
        "file:///reports/é",
        "file:///reports/a b",
        "",
    ],
)
def test_no_spelling_of_a_resource_leads_out_of_its_pattern(uri: str) -> None:
    assert PERMISSIONS.resource(uri) is None


def test_a_uri_that_stands_in_the_manifest_counts_letter_by_letter() -> None:
    grant = Grant(server="s", resources=("odd:../a%2e",))
    permissions = Permissions(Manifest(grants=(grant,)), "t")
    assert permissions.resource("odd:../a%2e") is not None
    assert permissions.resource("odd:../a%2E") is None


@pytest.mark.parametrize(
    ("template", "granted"),
    [
        ("file:///reports/{name}", True),
        ("file:///reports/2026/{+path}", True),
        ("file:///{+path}", False),
        ("{+uri}", False),
        ("memo://{name}", False),
        ("memo://rates{?year}", False),
        ("memo://rates", True),
        ("file:///reports/../{name}", False),
    ],
)
def test_a_template_is_granted_if_all_its_uris_are(template: str, granted: bool) -> None:
    assert (PERMISSIONS.template(template) is not None) == granted


@given(start=URIS, rest=st.text("ab/.%2eE", max_size=8))
def test_a_granted_uri_is_covered_by_its_rule_and_by_no_other_server(start: str, rest: str) -> None:
    granted = PERMISSIONS.resource(start + rest)
    by_pattern = {
        grant.server
        for grant in MANIFEST.grants
        if any(covers(one, start + rest) for one in grant.resources)
    }
    if granted is not None:
        assert covers(granted.rule, start + rest)
        assert by_pattern == {granted.server}
    elif not by_pattern:
        assert PERMISSIONS.resource(start + rest) is None


def test_servers_are_asked_for_lists_in_the_manifests_order() -> None:
    assert PERMISSIONS.servers(ListKind.TOOLS) == ("erp", "mail")
    only_resources = Permissions(Manifest(grants=(Grant(server="a", resources=("a:*",)),)), "t")
    assert only_resources.servers(ListKind.TOOLS) == ()
    assert only_resources.servers(ListKind.TEMPLATES) == ("a",)


def test_permissions_carry_the_revision_of_their_manifest() -> None:
    assert PERMISSIONS.revision == revision(MANIFEST, "tenant-a")
    assert Permissions(MANIFEST, "tenant-b").revision != PERMISSIONS.revision
    assert Permissions(Manifest(grants=(MAIL, ERP)), "tenant-a").revision != PERMISSIONS.revision
    assert prompt("reply")["name"] == MAIL.prompt_definitions[0].name
