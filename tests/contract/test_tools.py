"""The API server refuses tool servers and grants that relays could not use, with a message that a person can act on."""

from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract.test_custom_resources import attempt

URL = {"endpoint": {"url": "https://tools.example.com/mcp"}}
SERVICE = {"endpoint": {"serviceRef": {"namespace": "erp", "name": "tools", "port": 80}}}
ERP = {"server": "erp", "tools": ["read_invoice", "list_*", "*"]}


@pytest.mark.parametrize(
    "spec",
    [
        URL,
        SERVICE,
        URL | {"auth": {"secretName": "erp", "header": "X-Api-Key", "scheme": ""}},
        URL | {"egressCIDRs": ["10.1.2.0/24"], "onChange": "Accept"},
    ],
)
def test_a_tool_server_is_accepted(kubectl: Client, crds: None, spec: dict[str, Any]) -> None:
    assert attempt(kubectl, "ToolServer", "erp", spec) == ""


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"endpoint": {}}, "exactly one of the two"),
        ({"endpoint": URL["endpoint"] | SERVICE["endpoint"]}, "exactly one of the two"),
        ({"endpoint": {"url": "ftp://tools.example.com"}}, "write an http or https URL"),
        ({"endpoint": {"url": "https://u:p@tools.example.com/mcp"}}, "no credentials"),
        (URL | {"auth": {"secretName": "erp", "header": "Mcp-Method"}}, "relays write this header"),
        (URL | {"auth": {"secretName": "erp", "header": "Accept"}}, "relays write this header"),
        (URL | {"egressCIDRs": ["169.254.169.254/32"]}, "none of a tool server"),
        (SERVICE | {"caBundle": "-----BEGIN CERTIFICATE-----"}, "caBundle is used for an https"),
        (URL | {"onChange": "Ignore"}, "Unsupported value"),
    ],
)
def test_a_tool_server_that_relays_could_not_use_is_refused(
    kubectl: Client, crds: None, spec: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, "ToolServer", "erp", spec)


def test_a_tool_servers_name_is_one_that_documents_take(kubectl: Client, crds: None) -> None:
    assert "DNS label of at most 40 characters" in attempt(kubectl, "ToolServer", "e" * 41, URL)
    assert "DNS label of at most 40 characters" in attempt(kubectl, "ToolServer", "a.b", URL)


@pytest.mark.parametrize(
    "grants",
    [
        [ERP],
        [ERP | {"prefix": "erp_", "prompts": ["*"], "resources": ["file:///reports/*", "file:///r*", "memo://rates", "memo://*", "urn:*", "*"]}],
        [ERP | {"toolLimits": [{"name": "delete_*", "requestsPerMinute": 5}, {"name": "*", "requestsPerMinute": 60}]}],
        [{"server": f"s{n}", "resources": [f"memo://s{n}/*"]} for n in range(16)],
    ],
)  # fmt: skip
def test_grants_are_accepted(kubectl: Client, crds: None, grants: list[dict[str, Any]]) -> None:
    assert attempt(kubectl, "Tenant", "t", {"tools": {"grants": grants}}) == ""


@pytest.mark.parametrize(
    ("grants", "says"),
    [
        ([{"server": "erp"}], "a grant of nothing"),
        ([ERP, ERP], "Duplicate value"),
        ([ERP | {"tools": ["a b"]}], "tools"),
        ([ERP | {"tools": ["a*b"]}], "tools"),
        ([ERP | {"tools": []}], "tools"),
        ([ERP | {"resources": ["reports/*"]}], "a URI begins with one"),
        ([ERP | {"resources": ["https://api.example.com*"]}], "put the star behind a slash"),
        ([ERP | {"prefix": "erp/"}], "prefix"),
        ([ERP | {"toolLimits": [{"name": "pay"}]}], "requestsPerMinute"),
        ([ERP | {"toolLimits": [{"name": "pay", "requestsPerMinute": 0}]}], "requestsPerMinute"),
        ([ERP | {"toolLimits": [{"name": "pay", "requestsPerMinute": 5}] * 2}], "Duplicate value"),
        (
            [
                {
                    "server": "erp",
                    "prompts": ["*"],
                    "toolLimits": [{"name": "*", "requestsPerMinute": 5}],
                }
            ],
            "toolLimits in a grant without tools limit nothing",
        ),
        ([{"server": f"s{n}", "tools": ["a"]} for n in range(17)], "Too many"),
    ],
)
def test_grants_that_no_document_takes_are_refused(
    kubectl: Client, crds: None, grants: list[dict[str, Any]], says: str
) -> None:
    assert says in attempt(kubectl, "Tenant", "t", {"tools": {"grants": grants}})
