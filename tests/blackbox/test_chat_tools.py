"""Tools in chat calls, over the wire: a manifest holds for them as it does at /mcp."""

import json
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    END,
    STREAM_HEAD,
    Script,
    ScriptedProvider,
    chunk,
    piece,
    scripted,
    unary,
)
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.upstream import Upstream
from tests.unit.relay.tools.protocol import approved, tool

from relay_contract.document import Document
from relay_contract.tools.manifest import Context, Grant, Manifest, OnDenied
from relay_contract.tools.tool_server import ToolServer

RESPONSES = "/v1/responses"


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def document(
    platform: Platform, on_denied: OnDenied = "Hide", context: Context = "Omit", **fields: Any
) -> Document:
    """A tenant that may use read_invoice."""
    grant = Grant(
        server="erp",
        tools=("read_*",),
        tool_definitions=approved(tool("read_invoice")),
        context=context,
    )
    return platform.document(
        tool_servers=(ToolServer(name="erp", url="http://127.0.0.1:9/mcp"),),
        tools=Manifest(grants=(grant,), on_denied=on_denied),
        **fields,
    )


def test_a_provider_never_hears_of_hidden_tools(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(document(platform))
    hidden = [function("pay"), {"type": "mcp", "server_url": "https://evil.example"}]
    answer = relay.chat(tools=[function("read_invoice"), *hidden], tool_choice="auto")
    assert answer.status == 200
    assert answer.header("x-relay-hidden-tools") == "pay, mcp"
    asked = stable.only_request()
    assert asked.json()["tools"] == [function("read_invoice")]
    assert b"pay" not in asked.body
    assert b"evil" not in asked.body


def test_every_other_byte_stays(relay: Relay, platform: Platform, stable: Upstream) -> None:
    relay.push(document(platform))
    left = '{ "model" : "gpt-4.1" , "tools":[ {"type":"function","function":{"name":"read_invoice","parameters":{"n":1.0}}} ],"messages":[{"role":"user","content":"é \\u00e9"}]}'
    pay = ' {"type":"function","function":{"name":"pay"}},'
    body = left.replace('"tools":[', '"tools":[' + pay)
    assert relay.ask("POST", CHAT, body=body.encode()).status == 200
    assert json.loads(stable.only_request().body) == json.loads(left)
    assert stable.only_request().body.replace(b" ", b"") == left.encode().replace(b" ", b"")


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_refused_tools_are_told_in_the_shape_of_the_api(
    relay: Relay, platform: Platform, stable: Upstream, path: str
) -> None:
    relay.push(document(platform, "Refuse"))
    answer = relay.ask("POST", path, body=chat_body(tools=[{"type": "web_search"}]))
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "tool_not_permitted"
    assert stable.calls() == 0


def test_a_manifest_that_goes_takes_its_rules_along(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(document(platform, "Refuse"))
    assert relay.chat(tools=[function("pay")]).status == 400
    relay.push(platform.document())
    assert relay.chat(tools=[function("pay")]).status == 200
    assert stable.only_request().json()["tools"] == [function("pay")]


def calling(name: str) -> bytes:
    answer = orjson.loads(CHAT_ANSWER)
    called = {"id": "c", "type": "function", "function": {"name": name, "arguments": '{"a":1}'}}
    answer["choices"][0]["message"] = {"role": "assistant", "tool_calls": [called]}
    return orjson.dumps(answer)


@pytest.mark.parametrize(("name", "status"), [("read_invoice", 200), ("pay", 502)])
def test_an_answer_calls_only_what_is_granted(
    relay: Relay, platform: Platform, name: str, status: int
) -> None:
    with scripted(ScriptedProvider([unary(calling(name))])) as model:
        relay.push(document(platform, providers=[provider("stable", model.url)]))
        answer = relay.chat()
    assert answer.status == status
    assert (answer.body == calling(name)) == (status == 200)
    assert (b"arguments" in answer.body) == (status == 200)


def test_a_stream_ends_before_the_first_argument_and_frees_its_provider(
    relay: Relay, platform: Platform
) -> None:
    first = chunk('{"role":"assistant"}') + chunk('{"content":"hi"}')
    call = chunk(
        '{"tool_calls":[{"index":0,"id":"c","function":{"name":"pay","arguments":"{se"}}]}'
    )
    more = chunk('{"tool_calls":[{"index":0,"function":{"arguments":"cret"}}]}')
    script: Script = (
        *(STREAM_HEAD, piece(first), 0.1),
        *(piece(call[at : at + 9]) for at in range(0, len(call), 9)),
        *(piece(more), piece(DONE), END),
    )
    with scripted(ScriptedProvider([script])) as model:
        relay.push(document(platform, providers=[provider("stable", model.url)]))
        answer = relay.chat(stream=True)
    assert answer.status == 200
    assert answer.body.startswith(first)
    assert b"pay" not in answer.body
    assert b"cret" not in answer.body
    assert b"[DONE]" not in answer.body
    event = orjson.loads(answer.body.removeprefix(first).strip().removeprefix(b"data: "))
    assert event["error"]["code"] == "tool_not_permitted"


def test_a_model_is_told_of_the_tenant_and_its_tools_where_a_grant_asks_for_it(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(document(platform, context="Inject"))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert relay.chat(messages=messages).status == 200
    told, *own = stable.only_request().json()["messages"]
    assert own == messages
    name = platform.document().tenant.name
    assert told["role"] == "system"
    assert told["content"].startswith(f"This call is made for tenant {name}")
    assert told["content"].endswith("Tools that may be called: read_invoice.")
    relay.push(document(platform))
    stable.reset()
    assert relay.chat(messages=messages).status == 200
    assert stable.only_request().json()["messages"] == messages
