"""Sessions that began without a server: what their messages may use is made once, and not for each message."""

import pytest
from tests.unit.relay.documents import document
from tests.unit.relay.tools.protocol import MANIFEST, PERMISSIONS

from relay.calls.tool_use.session_access import MAX_NARROWED, permissions_in
from relay.routing.snapshot import ToolAccess
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.permissions import ListKind
from relay.tools.reading.eras import ERAS
from relay.tools.sealed.sessions import ServerSession, Session
from relay_contract.tools.tool_server import ToolServer

TENANT = document(
    tools=MANIFEST,
    tool_servers=tuple(
        ToolServer(name=name, url=f"http://{name}.test/mcp") for name in ("erp", "mail")
    ),
).tenant


@pytest.fixture
def access() -> ToolAccess:
    chat = ChatPolicy(PERMISSIONS, "Hide")
    return ToolAccess(
        permissions=PERMISSIONS,
        chat=chat,
        upstreams={},
        heads={},
        versions=tuple(ERAS),
        narrowed={},
    )


def session(*reached: str, granted: tuple[str, ...] = ("erp", "mail")) -> Session:
    servers = tuple(ServerSession(name, "", "2025-11-25", False) for name in reached)
    return Session(version="2025-11-25", granted=granted, servers=servers)


def test_without_a_server_its_lists_are_missing_and_nothing_is_made_twice(
    access: ToolAccess,
) -> None:
    assert permissions_in(session("erp", "mail"), TENANT, access) is PERMISSIONS
    found = permissions_in(session("erp"), TENANT, access)
    assert found.servers(ListKind.TOOLS) == ("erp",)
    assert found.tools.keys() == PERMISSIONS.tools.keys()
    assert permissions_in(session("erp"), TENANT, access) is found
    assert permissions_in(session("mail"), TENANT, access).servers(ListKind.TOOLS) == ("mail",)


def test_only_so_many_are_kept(access: ToolAccess) -> None:
    for number in range(3 * MAX_NARROWED):
        permissions_in(session(f"s{number}"), TENANT, access)
        assert len(access.narrowed) <= MAX_NARROWED
