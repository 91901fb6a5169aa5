"""Limits of what a tenant asks of tool servers, and of single tools."""

import pytest
from tests.unit.relay.documents import document
from tests.unit.relay.tools.protocol import approved, tool

from relay.admission.tools.tool_limiter import MESSAGES_PER_REQUEST, OverLimit, ToolLimiter
from relay_contract.document import TenantDocument
from relay_contract.tools.manifest import Grant, Manifest, ToolLimit
from relay_contract.tools.tool_server import ToolServer

TOOLS = approved(*(tool(name) for name in ("delete_all", "delete_one", "read")))


def tenant(*grants: Grant) -> TenantDocument:
    servers = [ToolServer(name=one.server, url="http://tools.test/mcp") for one in grants]
    return document(tool_servers=servers, tools=Manifest(grants=grants)).tenant


def limited(*limits: tuple[str, int], requests_per_minute: int | None = None) -> Grant:
    return Grant(
        server="erp",
        tools=("*",),
        tool_definitions=TOOLS,
        requests_per_minute=requests_per_minute,
        tool_limits=tuple(ToolLimit(name=name, requests_per_minute=rate) for name, rate in limits),
    )


def limiter(*grants: Grant, share: float = 1.0) -> ToolLimiter:
    return ToolLimiter(tenant(*grants), share=share, now=0.0)


def admitted(meter: ToolLimiter, tool: str, *, now: float = 0.0, most: int = 1000) -> int:
    """Returns how many of so many calls in a row may go to the server."""
    return sum(meter.admit("erp", tool, now=now) is None for _ in range(most))


def refused(over: OverLimit | None) -> OverLimit:
    assert over is not None
    return over


def test_each_tool_server_has_a_limit_of_its_own() -> None:
    erp = Grant(server="erp", tools=("read",), requests_per_minute=60)
    free = Grant(server="free", tools=("write",))
    meter = limiter(erp, free, share=0.5)
    assert admitted(meter, "", most=6) == 5
    over = refused(meter.admit("erp", "", now=0.0))
    assert over.pattern == ""
    assert over.retry_after_seconds == pytest.approx(2.0)
    assert all(meter.admit("free", "", now=0.0) is None for _ in range(1000))
    meter.reconfigure(tenant(erp, free), share=0.5, now=0.0)
    refused(meter.admit("erp", "", now=0.0))
    assert meter.admit("erp", "", now=2.0) is None
    meter.reconfigure(document().tenant, share=0.5, now=2.0)
    assert admitted(meter, "") == 1000


def test_a_limit_is_one_for_all_the_tools_that_it_covers() -> None:
    meter = limiter(limited(("delete_*", 12)))
    assert admitted(meter, "delete_all", most=1) == 1
    assert admitted(meter, "delete_one") == 1
    over = refused(meter.admit("erp", "delete_all", now=0.0))
    assert over.pattern == "delete_*"
    assert over.retry_after_seconds == pytest.approx(5.0)
    assert meter.admit("erp", "delete_all", now=5.0) is None
    assert admitted(meter, "read") == 1000
    assert admitted(meter, "") == 1000


def test_a_call_passes_every_limit_of_its_tool_or_is_charged_by_none() -> None:
    meter = limiter(limited(("delete_*", 60), ("delete_all", 6), requests_per_minute=120))
    assert admitted(meter, "delete_all") == 1
    assert refused(meter.admit("erp", "delete_all", now=0.0)).pattern == "delete_all"
    # the thousand that were refused have used up neither the wider limit nor the server's
    assert admitted(meter, "delete_one") == 9
    assert refused(meter.admit("erp", "delete_one", now=0.0)).pattern == "delete_*"
    assert admitted(meter, "read") == 10
    assert refused(meter.admit("erp", "read", now=0.0)).pattern == ""


def test_a_pod_has_its_share_of_a_limit_of_tools() -> None:
    assert admitted(limiter(limited(("read", 60)), share=0.2), "read") == 2


def test_what_was_spent_of_a_limit_of_tools_stays_spent_with_a_new_document() -> None:
    meter = limiter(limited(("read", 6)))
    assert admitted(meter, "read") == 1
    meter.reconfigure(tenant(limited(("read", 6), ("delete_*", 6))), share=1.0, now=1.0)
    refused(meter.admit("erp", "read", now=1.0))
    assert meter.admit("erp", "delete_one", now=1.0) is None
    meter.reconfigure(tenant(limited()), share=1.0, now=1.0)
    assert admitted(meter, "read", now=1.0) == 1000


def test_limits_of_two_servers_do_not_meet_where_their_tools_have_one_name() -> None:
    erp = limited(("read", 6)).model_copy(update={"prefix": "erp_"})
    crm = erp.model_copy(update={"server": "crm", "prefix": "crm_"})
    meter = limiter(erp, crm)
    assert meter.admit("erp", "read", now=0.0) is None
    assert meter.admit("crm", "read", now=0.0) is None
    refused(meter.admit("crm", "read", now=0.0))


def test_messages_that_are_no_calls_have_a_rate_of_their_own() -> None:
    meter = limiter(limited(("*", 6), requests_per_minute=6))
    assert admitted(meter, "read") == 1
    messages = sum(meter.admit_message("erp", now=0.0) is None for _ in range(1000))
    assert messages == MESSAGES_PER_REQUEST
    assert limiter(limited(("*", 6))).admit_message("erp", now=0.0) is None
