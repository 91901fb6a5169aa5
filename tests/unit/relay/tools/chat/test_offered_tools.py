"""Tools that a call offers a model: what no grant covers is taken out or refused, wherever and however it is written."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.relay.tools.chat.granted import HIDING, REFUSING, flat, function, offer_of
from tests.unit.relay.tools.protocol import PERMISSIONS

from relay.tools.chat.chat_policy import MAX_KEPT_LISTS, ChatPolicy
from relay.tools.chat.offered_tools import DeniedTools
from relay.tools.chat.tool_entries import TOOL_BOUNDS, UncheckableTools, printable

BODY = {"model": "m", "messages": []}


@pytest.mark.parametrize("policy", [HIDING, REFUSING])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": None},
        {"tools": []},
        {"tools": [function("read_invoice"), function("mail__send")], "tool_choice": "required"},
        {"tools": [flat("list_orders")], "tool_choice": {"type": "function", "name": "list_orders"}},
        {"tools": [{"type": "custom", "custom": {"name": "read_invoice", "format": {}}}]},
        {"tools": [{"type": "custom", "name": "read_invoice"}]},
        {"tools": [{"name": "read_invoice", "input_schema": {}}], "tool_choice": {"type": "any"}},
        {"functions": [{"name": "read_invoice"}], "function_call": {"name": "read_invoice"}},
        {"tool_choice": "read_invoice"},
        {"tool_choice": {"type": "tool", "name": "read_invoice"}},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [flat("mail__send")]}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [function("mail__send")]}}},
        {"web_search_options": None, "plugins": [], "enable_search": False},
        {"prompt": "a text to complete"},
        {"parallel_tool_calls": True, "max_tool_calls": 4, "disable_search": True, "tool_stream": True},
        {"top_k": 5, "provider": {"order": ["a", "b"], "sort": "price"}, "transforms": ["middle-out"]},
        {"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}},
        {"chat_template_kwargs": {"enable_thinking": False}, "use_beam_search": True},
        {"response_schema": {"properties": {"tools": {"type": "array"}}}, "guided_json": {"search": 1}},
        {"reasoning": {"effort": "low", "summary": "auto"}, "thinking": {"type": "enabled", "budget_tokens": 9}},
        {"text": {"format": {"type": "json_schema", "name": "search", "schema": {"tools": {"type": "function"}}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"search": {"type": "tool"}}}}},
        {"structured_outputs": {"json": {"search": 1}}, "logit_bias": {"1": 2}, "metadata": {"tools": "all", "agent": "x"}},
        {"include": ["web_search_call.results"], "stop": ["tools"], "modalities": ["text"], "audio": {"voice": {"id": "v"}}},
        {"stream_options": {"include_usage": True}, "conversation": {"id": "c"}, "prediction": {"content": [{"text": "tools"}]}},
        {"context_management": [{"type": "compaction"}], "documents": [{"search": 1}]},
        {"extra_body": {"enable_search": False, "plugins": [], "documents": [{"search": "x"}]}},
        {"search_options": None, "agent": None, "preset": "", "extra_body": "tools"},
        {"tools": [{**flat("read_invoice"), "cache_control": {"type": "ephemeral"}, "strict": True}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_granted_stays_as_it_is(policy: ChatPolicy, fields: dict[str, Any]) -> None:
    raw = json.dumps(BODY | fields)
    offer = offer_of(raw, policy)
    assert (offer.raw, offer.hidden) == (raw.encode(), ())


DENIED_TOOLS: dict[str, tuple[dict[str, Any], str]] = {
    "of no server": (function("pay"), "pay"),
    "by a server's own name, which has a prefix": (flat("send"), "send"),
    "in capitals": (function("Read_Invoice"), "Read_Invoice"),
    "with a blank": (function("read_invoice "), "read_invoice?"),
    "custom": ({"type": "custom", "custom": {"name": "pay"}}, "pay"),
    "of two names": ({**function("read_invoice"), "name": "pay"}, "read_invoice"),
    "of two names, turned": ({**function("pay"), "name": "read_invoice"}, "pay"),
    "of two kinds": ({**function("read_invoice"), "custom": {"name": "pay"}}, "read_invoice"),
    "hosted": ({"type": "web_search"}, "web_search"),
    "hosted, by a granted name": ({"type": "web_search", "name": "read_invoice"}, "read_invoice"),
    "a connector": ({"type": "mcp", "server_label": "erp", "server_url": "https://x"}, "mcp"),
    "a namespace": ({"type": "namespace", "name": "read_invoice", "tools": []}, "read_invoice"),
    "of another kind of API": ({"google_search": {}}, "unnamed"),
    "of another kind beside a name": ({"name": "read_invoice", "google_search": {}}, "read_invoice"),
    "with a second one beside it": ({**function("read_invoice"), "google_search": {}}, "read_invoice"),
    "with declarations beside it": ({**flat("read_invoice"), "functionDeclarations": [{"name": "pay"}]}, "read_invoice"),
    "with a server beside it": ({**flat("read_invoice"), "server_url": "https://x"}, "read_invoice"),
    "with a second one inside": (function("read_invoice", web_search={"enable": True}), "read_invoice"),
    "with a function inside": (function("read_invoice", function={"name": "pay"}), "read_invoice"),
    "callable from a sandbox": ({**flat("read_invoice"), "allowed_callers": ["code_execution"]}, "read_invoice"),
    "built in": ({"type": "builtin_function", "function": {"name": "$web_search"}}, "$web_search"),
    "nameless": ({"type": "function", "function": {}}, "function"),
    "named by a number": ({"type": "function", "name": 5}, "function"),
    "typed by a list": ({"type": ["function"], "name": "read_invoice"}, "read_invoice"),
    "that would end the header": (function("a\r\nset-cookie: b,c"), "a??set-cookie:?b?c"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "told"), DENIED_TOOLS.values(), ids=DENIED_TOOLS)
@pytest.mark.parametrize("field", ["tools", "functions"])
def test_a_tool_that_is_not_granted_is_taken_out_or_refused(
    entry: dict[str, Any], told: str, field: str
) -> None:
    tools = [function("read_invoice"), entry, flat("mail__send")]
    offer = offer_of({"a": 1, field: tools, "b": 2})
    assert json.loads(offer.raw) == {"a": 1, field: [tools[0], tools[2]], "b": 2}
    assert offer.hidden == (told,)
    with pytest.raises(DeniedTools) as raised:
        offer_of({field: tools}, REFUSING)
    assert (raised.value.field, raised.value.labels) == (field, (told,))


@pytest.mark.parametrize("entry", ["read_invoice", 5, None, ["read_invoice"]])
def test_an_entry_that_is_no_object_is_no_tool(entry: object) -> None:
    assert json.loads(offer_of({"tools": [entry, flat("mail__send")]}).raw) == {
        "tools": [flat("mail__send")]
    }


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"a": 1, "tools": [function("pay")], "tool_choice": "auto", "parallel_tool_calls": True}, {"a": 1}),
        ({"tools": [function("pay")], "tool_choice": {"type": "auto"}, "a": 1}, {"a": 1}),
        ({"functions": [{"name": "pay"}], "function_call": "none"}, {}),
        ({"functions": [{"name": "pay"}], "tools": [flat("mail__send")], "tool_choice": "required"},
         {"tools": [flat("mail__send")], "tool_choice": "required"}),
    ],
)  # fmt: skip
def test_with_the_last_tool_goes_what_stands_only_beside_tools(
    body: dict[str, Any], left: dict[str, Any]
) -> None:
    assert json.loads(offer_of(body).raw) == left


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "read_invoice"}},
        {"type": "allowed_tools", "mode": "auto", "tools": [flat("read_invoice")]},
    ],
    ids=str,
)
def test_a_model_that_has_to_call_a_tool_is_not_asked_without_one(choice: object) -> None:
    with pytest.raises(DeniedTools) as raised:
        offer_of({"tools": [function("pay")], "tool_choice": choice})
    assert raised.value.field == "tool_choice"
    with pytest.raises(DeniedTools):
        offer_of({"functions": [{"name": "pay"}], "function_call": {"name": "read_invoice"}})


@pytest.mark.parametrize("policy", [HIDING, REFUSING])
@pytest.mark.parametrize("field", ["tool_choice", "function_call"])
@pytest.mark.parametrize(
    "choice",
    [
        "pay",
        function("pay"),
        flat("pay"),
        {"name": "pay"},
        {"type": "tool", "name": "pay"},
        {"type": "auto", "name": "pay"},
        {"type": "auto", "Name": "pay"},
        {"type": "tool", "name": "read_invoice", "NAME": "pay"},
        {"type": "allowed_tools", "tools": [flat("read_invoice")], "Tools": [flat("pay")]},
        {"type": "allowed_tools", "allowed_tools": {"tools": [], "TOOLS": [flat("pay")]}},
        {"type": "web_search_preview"},
        {"type": "mcp", "server_label": "erp"},
        {"type": "allowed_tools", "tools": [flat("read_invoice"), flat("pay")]},
        {"type": "allowed_tools", "allowed_tools": {"tools": [{"type": "mcp"}]}},
        {"type": "allowed_tools", "tools": [flat("read_invoice")], "allowed_tools": {"tools": [flat("pay")]}},
        {"type": "allowed_tools"},
        {},
        [],
        True,
    ],
    ids=str,
)  # fmt: skip
def test_a_choice_of_what_is_not_granted_is_refused(
    policy: ChatPolicy, field: str, choice: object
) -> None:
    with pytest.raises(DeniedTools) as raised:
        offer_of({"tools": [function("read_invoice")], field: choice}, policy)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("web_search_options", {}),
        ("plugins", [{"id": "web"}]),
        ("mcp_servers", [{"url": "https://x"}]),
        ("search_parameters", {"mode": "on"}),
        ("data_sources", [{}]),
        ("integrations", ["mcp/playwright"]),
        ("server_url", "https://x"),
        ("connectors", [{"id": "web-search"}]),
        ("enable_search", True),
        ("enable_code_interpreter", True),
        ("compound_custom", {"tools": {"enabled_tools": ["web_search"]}}),
        # Qwen, Hunyuan, Baidu, Baichuan, Moonshot
        ("search_options", {"forced_search": True}),
        ("enable_enhancement", True),
        ("EnableEnhancement", True),
        ("force_search_enhancement", True),
        ("web_search", {"enable": True}),
        ("with_search_enhance", 1),
        ("use_search", True),
        # Gemini, Bedrock
        ("toolConfig", {"functionCallingConfig": {}}),
        ("google_search_retrieval", {}),
        ("url_context", {}),
        ("code_execution", {}),
        # Anthropic, Azure, LiteLLM, Perplexity
        ("container", {"skills": [{"skill_id": "xlsx"}]}),
        ("dataSources", [{}]),
        ("vector_store_ids", ["vs_1"]),
        ("_debug_pro_search", True),
        ("webSearchOptions", {}),
        ("WEB_SEARCH_OPTIONS", {}),
        (r"enable\u005fsearch", True),
        (r"\u017fearch_options", {}),
    ],
)
def test_a_field_by_which_a_provider_runs_a_tool_is_one(field: str, value: object) -> None:
    raw = f'{{"a": 1, "{field}": {json.dumps(value)}, "{field}": {json.dumps(value)}}}'
    offer = offer_of(raw)
    told = printable(json.loads(f'"{field}"'))
    assert (json.loads(offer.raw), offer.hidden) == ({"a": 1}, (told, told))
    with pytest.raises(DeniedTools):
        offer_of(raw, REFUSING)


@pytest.mark.parametrize("policy", [HIDING, REFUSING])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", {"id": "pmpt_1"}),
        ("agent", {"name": "researcher"}),
        ("agent_id", "ag_1"),
        ("preset", "pro-search"),
        ("cachedContent", "cachedContents/1"),
        ("models", ["openai/gpt-4o:online"]),
    ],
)
def test_what_is_stored_at_a_provider_may_bring_tools(
    policy: ChatPolicy, field: str, value: object
) -> None:
    with pytest.raises(DeniedTools) as raised:
        offer_of({"model": "m", field: value}, policy)
    assert raised.value.field == field


@pytest.mark.parametrize("policy", [HIDING, REFUSING])
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"extra_body": {"functions": [{"name": "pay"}]}}, "extra_body.functions"),
        ({"extra_body": {"tools": []}, "x": {"tools": [flat("pay")]}}, "x.tools"),
        ({"extra_body": {"Tools": [flat("pay")]}}, "extra_body.Tools"),
        ({"extra_body": {"google": {"tools": [{"googleSearch": {}}]}}}, "extra_body.google.tools"),
        ({"extra_body": {"google": {"cached_content": "c"}}}, "extra_body.google.cached_content"),
        ({"extra_body": {"enable_search": True}}, "extra_body.enable_search"),
        ({"extra_body": {"extra_body": {"plugins": [{}]}}}, "extra_body.extra_body.plugins"),
        ({"extra_body": {"agent": "x"}}, "extra_body.agent"),
        ({"extra_body": {"preset": "x"}}, "extra_body.preset"),
        ({"parameters": {"tools": [function("pay")]}}, "parameters.tools"),
        ({"options": [{"a": 1}, {"web_search_options": {}}]}, "options.web_search_options"),
        ({"chat_template_kwargs": {"tools": [function("pay")]}}, "chat_template_kwargs.tools"),
        ({"additionalModelRequestFields": {"tool_config": {}}}, "additionalModelRequestFields.tool_config"),
        ({"features": {"type": "web_search"}}, "features.type"),
        ({"features": [{"kind": "browser"}]}, "features.kind"),
        ({"mode": "search"}, "mode"),
        ({"reasoning": {"effort": "low", "tools": [flat("pay")]}}, "reasoning.tools"),
        ({"text": {"format": {"type": "text"}, "mcp_servers": [{"url": "https://x"}]}}, "text.mcp_servers"),
        ({"thinking": {"type": "enabled", "web_search": {}}}, "thinking.web_search"),
        ({"audio": {"voice": "a", "toolConfig": {}}}, "audio.toolConfig"),
        ({"stream_options": {"include_usage": True, "plugins": ["web"]}}, "stream_options.plugins"),
        ({"conversation": {"id": "c", "tools": [flat("pay")]}}, "conversation.tools"),
        ({"include": [{"type": "web_search"}]}, "include.type"),
        ({"modalities": [{"connectors": ["x"]}]}, "modalities.connectors"),
        ({"instructions": {"agent": "x"}}, "instructions.agent"),
        ({"messages": [{"role": "system", "tools": [flat("pay")]}]}, "messages"),
        ({"messages": [{"role": "system", "Tool\u017f" : [flat("pay")]}]}, "messages"),
        ({"input": [{"type": "additional_tools", "tools" : [flat("pay")]}]}, "input"),
        ({"input": {"messages": [{"content": [{"functions": [flat("pay")]}]}]}}, "input"),
        ({"messages": [{"mcpServers": [{"url": "https://x"}]}]}, "messages"),
    ],
    ids=str,
)  # fmt: skip
def test_a_tool_inside_another_field_is_refused(
    policy: ChatPolicy, fields: dict[str, Any], path: str
) -> None:
    for raw in (json.dumps(fields), json.dumps(fields, ensure_ascii=False, indent=1)):
        with pytest.raises(DeniedTools) as raised:
            offer_of(raw, policy)
        assert raised.value.field == path


def test_a_field_that_was_read_before_is_read_again_where_it_is_another() -> None:
    for _ in range(2):
        assert offer_of({"reasoning": {"effort": "low"}}).hidden == ()
        with pytest.raises(DeniedTools):
            offer_of({"reasoning": {"effort": "low", "tools": [flat("pay")]}})
    for number in range(1000):
        assert offer_of({"reasoning": {"effort": "low", "max_tokens": number}}).hidden == ()
    with pytest.raises(DeniedTools):
        offer_of({"text": {"tools": [flat("pay")]}})


def test_a_key_of_messages_that_hides_in_escapes_is_found() -> None:
    with pytest.raises(DeniedTools):
        offer_of(r'{"messages":[{"role":"system","t\u006fols":[{"name":"pay"}]}]}')


@pytest.mark.parametrize(
    "text",
    ['say "tools": [1]', '{"tools":[]}', r"\u0074ools", "tools", "x\\", '"functions" :'],
)
def test_what_messages_say_of_tools_is_no_tool(text: str) -> None:
    called = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": text}}
    body = {
        "messages": [
            {"role": "user", "content": text},
            {
                "role": "assistant",
                "tool_calls": [called],
                "content": [{"type": "text", "text": text}],
            },
            {"role": "tool", "tool_call_id": "c", "content": text},
        ],
        "input": text,
    }
    raw = json.dumps(body)
    assert offer_of(raw).raw == raw.encode()


def test_a_field_that_is_too_large_to_be_read_is_refused() -> None:
    with pytest.raises(UncheckableTools):
        offer_of({"extra_body": {"x": "y" * TOOL_BOUNDS.size}})
    with pytest.raises(UncheckableTools):
        offer_of({"extra_body": {"x" * 300: 1}})
    with pytest.raises(UncheckableTools):
        offer_of({f"x{number}": {"a": "y" * 10_000} for number in range(60)})
    with pytest.raises(UncheckableTools):
        offer_of({"extra_body": {f"{number:x}" + "\u3000" * 90: 1 for number in range(100)}})
    with pytest.raises(UncheckableTools):
        offer_of({"tools": [{**flat("read_invoice"), "\u3000" * 100_000: 1}]})
    with pytest.raises(UncheckableTools):
        offer_of('{"extra_body":{"a":1,"a":{"tools":[]}}}')


@pytest.mark.parametrize(
    "body",
    [
        '{"tools":[],"tools":[]}',
        '{"tools":[],"t\\u006fols":[]}',
        '{"Tools":[{"name":"pay"}]}',
        '{"tool\u017f":[{"name":"pay"}]}',
        '{"tools\\u0000":[{"name":"pay"}]}',
        '{"TOOL_CHOICE":"pay"}',
        '{"tools":{"name":"pay"}}',
        '{"tools":"pay"}',
        '{"tools":[{"name":"read_invoice","name":"pay"}]}',
        '{"tools":[{"type":"function","function":{"name":"pay","n\\u0061me":"read_invoice"}}]}',
        '{"tools":[{"type":"function","function":{"name":"read_invoice","Name":"pay"}}]}',
        '{"tools":[{"type":"function","name":"read_invoice","Function":{"name":"pay"}}]}',
        '{"tools":[{"type":"function","name":"read_invoice","TYPE":"mcp"}]}',
        '{"tool_choice":{"name":"read_invoice","name":"pay"}}',
        '{"%s":1}' % ("_" * 300 + "tools"),
    ],
)  # fmt: skip
def test_what_another_reader_could_read_otherwise_is_refused(body: str) -> None:
    with pytest.raises(UncheckableTools):
        offer_of(body)


def test_a_key_in_escapes_is_read_as_any_reader_does() -> None:
    offer = offer_of('{"a":1,"\\u0074ools":[{"name":"pay"}]}')
    assert (json.loads(offer.raw), offer.hidden) == ({"a": 1}, ("pay",))


def test_more_tools_than_can_be_read_are_refused() -> None:
    with pytest.raises(UncheckableTools):
        offer_of({"tools": [function("read_invoice", description="x" * TOOL_BOUNDS.size)]})
    deep = "[" * 70 + "]" * 70
    with pytest.raises(UncheckableTools):
        offer_of(f'{{"tools":[{{"name":"read_invoice","parameters":{deep}}}]}}')


def test_lists_are_kept_for_the_next_call_and_only_so_many() -> None:
    policy = ChatPolicy(PERMISSIONS, "Hide")
    first = policy.tool_list(b'[{"name":"pay"}]')
    assert policy.tool_list(b'[{"name":"pay"}]') is first
    for number in range(MAX_KEPT_LISTS):
        policy.tool_list(b'[{"name":"x%d"}]' % number)
    assert policy.tool_list(b'[{"name":"pay"}]') is not first


NAMES = st.sampled_from(
    ["read_invoice", "list_orders", "mail__send", "pay", "send", "Read_invoice", "", "\ud800"]
)
ENTRIES = st.builds(function, NAMES) | st.builds(flat, NAMES) | st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "custom", "mcp", "web_search", 5, None])},
    optional={
        "name": NAMES,
        "function": st.fixed_dictionaries({"name": NAMES}) | st.none(),
        "custom": st.fixed_dictionaries({"name": NAMES}),
        "server_url": st.just("https://x"),
    },
)  # fmt: skip
GRANTED = {"read_invoice", "list_orders", "list_invoices", "mail__send", "mail__list_invoices"}


def names_in(value: Any) -> set[str]:
    """Every name that stands anywhere in a value."""
    if isinstance(value, dict):
        own = {value["name"]} if isinstance(value.get("name"), str) else set()
        return own.union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


@given(
    tools=st.lists(ENTRIES, max_size=6),
    functions=st.none() | st.lists(ENTRIES, max_size=3),
    choice=st.sampled_from([None, "auto", "required", "pay", flat("pay"), flat("read_invoice")]),
    indent=st.none() | st.integers(0, 2),
)
@example([], [{"type": None, "name": "read_invoice"}], None, None)
def test_no_denied_name_is_left_and_every_granted_tool_is(
    tools: list[dict[str, Any]],
    functions: list[dict[str, Any]] | None,
    choice: object,
    indent: int | None,
) -> None:
    body = {"tools": tools, "tool_choice": choice, "model": "m", "functions": functions}
    try:
        offer = offer_of(json.dumps(body, indent=indent))
    except DeniedTools:
        return
    left = json.loads(offer.raw)
    assert names_in(left) <= GRANTED
    for name in ("tools", "functions"):
        for entry in left.get(name) or ():
            assert entry["type"] in ("function", "custom")
        plain = [function(one) for one in GRANTED] + [flat(one) for one in GRANTED]
        kept = [entry for entry in body[name] or () if entry in plain]  # type: ignore[attr-defined]
        assert [entry for entry in left.get(name) or () if entry in plain] == kept
