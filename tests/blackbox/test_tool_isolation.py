"""The suite that tries any gateway for tools, tried on ours: two tenants, each with a relay, and one server behind."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.blackbox.forked_relays import ForkedRelay
from tests.blackbox.process import free_ports
from tests.blackbox.relays import Relay
from tests.blackbox.session_server import serving_sessions
from tests.blackbox.tenant import Platform, Signer, api_key
from tests.blackbox.tool_calls import MCP, SECRET
from tests.documents import with_tenant
from tests.tool_isolation.__main__ import main
from tests.tool_isolation.callers import Caller
from tests.tool_isolation.findings import Outcome
from tests.tool_isolation.gateway import ByHand, Gateway, Tenant
from tests.tool_isolation.rows import ROWS, Row
from tests.tool_isolation.watched_server import (
    DENIED_TOOL,
    OTHER_PROMPT,
    OTHER_RESOURCE,
    OTHER_TOOL,
    OWN_PROMPT,
    OWN_RESOURCE,
    OWN_TOOL,
    SHARED_TOOL,
    WatchedServer,
    prompt,
    tool,
)
from tests.unit.relay.tools.protocol import approved

from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

SETTINGS = {"first_byte_timeout_seconds": "2", "upstream_idle_timeout_seconds": "2"}
HANG_SECONDS = 4.0
"""Longer than a relay waits with these settings."""
CALLS_A_MINUTE = 60
NOT_APPLICABLE = {"15"}
"""Relays take API keys, and no tokens of an authorization server."""
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant with a relay of its own, and what it may use alone."""

    name: str
    uid: str
    relay: Relay
    platform: Platform
    own: tuple[str, str, str]

    @property
    def key(self) -> str:
        return f"sk-relay-{self.name}-production-5c01"

    def caller(self) -> Tenant:
        url = f"http://127.0.0.1:{self.relay.port}{MCP}"
        return Tenant(Caller(url, f"Bearer {self.key}"), SHARED_TOOL, *self.own)

    def document(
        self, server: WatchedServer, tools: tuple[str, ...], rate: int | None = None
    ) -> Document:
        _, prompt_name, uri = self.own
        grant = Grant(
            server="erp",
            tools=tools,
            prompts=(prompt_name,),
            resources=(uri,),
            tool_definitions=approved(*(tool(name) for name in tools)),
            prompt_definitions=approved(prompt(prompt_name)),
            requests_per_minute=rate,
        )
        erp = ToolServer(name="erp", url=server.url, key_file="tools-erp")
        plain = self.platform.document(tool_servers=(erp,), tools=Manifest(grants=(grant,)))
        key = api_key("production", self.key)
        return with_tenant(plain, name=self.name, uid=self.uid, keys=(key,))


def grant(customer: Customer, server: WatchedServer, *tools: str, rate: int | None = None) -> None:
    customer.relay.push(customer.document(server, tools, rate))


@pytest.fixture(scope="module")
def server() -> Iterator[WatchedServer]:
    """Starts the server behind, whose lists have two pages."""
    with serving_sessions(WatchedServer(page_size=2)) as behind:
        yield behind


@pytest.fixture(scope="module")
def customers(
    tmp_path_factory: pytest.TempPathFactory, signer: Signer, server: WatchedServer
) -> Iterator[tuple[Customer, Customer]]:
    """Starts a relay for each of two tenants."""
    directory = tmp_path_factory.mktemp("tool-isolation")
    platform = Platform(signer, {"stable": server.url})
    made = []
    try:
        for name, own in (
            ("finance", (OWN_TOOL, OWN_PROMPT, OWN_RESOURCE)),
            ("marketing", (OTHER_TOOL, OTHER_PROMPT, OTHER_RESOURCE)),
        ):
            uid = str(uuid.uuid4())
            relay = ForkedRelay(directory / name, signer, tenant_uid=uid, **SETTINGS)
            made.append(Customer(name, uid, relay, platform, own))
            relay.give_key("tools-erp", SECRET)
            relay.give_key("stable", SECRET)
            relay.write_document(made[-1].document(server, (own[0], SHARED_TOOL)))
        for customer in made:
            customer.relay.wait_ready()
        yield made[0], made[1]
    finally:
        for customer in made:
            customer.relay.process.kill()


@pytest.fixture(scope="module")
def gateway(customers: tuple[Customer, Customer], server: WatchedServer) -> Gateway:
    """Gives the suite what it needs: addresses, credentials, names, and what an operator does by hand."""
    one, other = customers

    def limit() -> None:
        for customer in customers:
            grant(customer, server, customer.own[0], SHARED_TOOL, rate=CALLS_A_MINUTE)

    def log() -> str:
        return "".join(customer.relay.output() for customer in customers)

    return Gateway(
        one=one.caller(),
        other=other.caller(),
        denied=DENIED_TOOL,
        server=server,
        by_hand=ByHand(
            revoke=lambda: grant(one, server, SHARED_TOOL),
            limit=limit,
            log=log,
            records=lambda: [line for line in log().splitlines() if '"tool_call"' in line],
        ),
        hang_seconds=HANG_SECONDS,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.title}".replace(" ", "-"))
def test_a_row_holds(gateway: Gateway, row: Row) -> None:
    found = row.run(gateway)
    assert not found.broken, "\n".join(found.broken)
    expected = Outcome.NOT_APPLICABLE if row.name in NOT_APPLICABLE else Outcome.HELD
    assert found.outcome is expected, found


def test_without_a_gateway_the_rows_break() -> None:
    with serving_sessions(WatchedServer()) as server:
        urls = (server.url, server.url.replace("127.0.0.1", "localhost"))
        callers = [Caller(url, f"Bearer key-{number}-4d11") for number, url in enumerate(urls)]
        nothing_between = Gateway(
            one=Tenant(callers[0], SHARED_TOOL, OWN_TOOL, OWN_PROMPT, OWN_RESOURCE),
            other=Tenant(callers[1], SHARED_TOOL, OTHER_TOOL, OTHER_PROMPT, OTHER_RESOURCE),
            denied=DENIED_TOOL,
            server=server,
            by_hand=ByHand(
                revoke=lambda: None,
                limit=lambda: None,
                log=lambda: str(server.seen),
                records=list,
            ),
            rounds=20,
            pairs=20,
            hang_seconds=3.0,
        )
        found = {row.name: row.run(nothing_between) for row in ROWS}
    unbroken = {name: one for name, one in found.items() if one.outcome is not Outcome.BROKEN}
    # a server by itself keeps answers apart, fails by the call, and takes no tokens
    assert set(unbroken) == {"3", "11", *NOT_APPLICABLE}


def test_the_command_tells_what_broke(capsys: pytest.CaptureFixture[str]) -> None:
    (port,) = free_ports(1)
    arguments = f"--server-port {port} --url http://127.0.0.1:{port}/mcp --row 1 --row 15".split()
    keys = ["--credential", "Bearer key-0-4d11", "--other-credential", "Bearer key-1-4d11"]
    assert main([*arguments, *keys]) == 1
    printed = capsys.readouterr().out
    assert "| 1 | lists show one's own alone | broken | " in printed
    assert "2025-11-25: a list has pay, which is not granted" in printed
    assert "| 15 | tokens are for this resource | not applicable | 0 | left out: " in printed
    assert "| 16 | MCP10 over-sharing | broken | - |" in printed
