"""Every attempt at a call of a tenant with a tool manifest says which manifest the call was held to."""

from typing import Any

from tests.unit.relay.calls.test_chat_tools import BODY, Make, granting
from tests.unit.relay.documents import document
from tests.unit.relay.memory import MemoryRelay, call, reply
from tests.unit.relay.tools.protocol import ERP, MAIL

from relay_contract.tools.manifest import Manifest, revision
from relay_contract.tools.tool_server import ToolServer

UID = "uid-1"
SERVERS = tuple(ToolServer(name=name, url=f"http://{name}.test/mcp") for name in ("erp", "mail"))
BOTH = Manifest(grants=(ERP, MAIL))
ONE = Manifest(grants=(ERP,))


def revisions(relay: MemoryRelay) -> list[str]:
    return [event.subject.manifest_revision for event in relay.log.events]


def served(relay: MemoryRelay, **request: Any) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(**request))
    upstream.send(reply())


async def test_calls_of_every_kind_name_it(relay_with: Make) -> None:
    relay = granting(relay_with)
    served(relay, body=BODY)
    served(relay, body={"model": "gpt-4.1", "input": "hi"}, path="/v1/embeddings")
    served(relay, body={"model": "gpt-4.1", "prompt": "hi"}, path="/v1/completions")
    assert revisions(relay) == [revision(BOTH, UID)] * 3


async def test_a_tenant_without_one_names_none(relay: MemoryRelay) -> None:
    served(relay, body=BODY)
    assert revisions(relay) == [""]


async def test_a_call_that_is_under_way_keeps_its_own(relay_with: Make) -> None:
    relay = relay_with(tools=BOTH, tool_servers=SERVERS)
    slow, first = relay.client(), relay.provider()
    slow.send(call(BODY))
    relay.install(document(tools=ONE, tool_servers=SERVERS, generation=2))
    served(relay, body=BODY)
    first.send(reply())
    relay.install(document(generation=3))
    served(relay, body=BODY)
    assert revisions(relay) == [revision(ONE, UID), revision(BOTH, UID), ""]
