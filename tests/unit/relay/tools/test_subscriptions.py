"""What a client that listens is told, whatever servers say."""

import json
from typing import Any

import pytest
from tests.unit.relay.tools.protocol import approved, tool

from relay.tools.permissions import Permissions
from relay.tools.reading.messages import SERVER_BOUNDS, Message, read_message
from relay.tools.subscriptions import Subscription, filters_by_server, is_acknowledgement
from relay_contract.tools.manifest import Grant, Manifest

ID = "io.modelcontextprotocol/subscriptionId"
RATES, INBOX = "memo://rates", "mail://inbox/1"
ERP = Grant(
    server="erp", tools=("pay",), tool_definitions=approved(tool("pay")), resources=("memo://*",)
)
MAIL = Grant(server="mail", resources=("mail://inbox/*",))
WANTED = {"toolsListChanged": True, "resourceSubscriptions": [RATES, INBOX]}


def permissions(*grants: Grant) -> Permissions:
    return Permissions(Manifest(grants=grants), "uid")


def subscription(wanted: dict[str, Any], id_text: str = '"s"') -> Subscription:
    filters = filters_by_server(wanted, permissions(ERP, MAIL))
    assert isinstance(filters, dict)
    return Subscription(wanted, filters, id_text)


def said(method: str, **params: Any) -> Message:
    content = {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}
    message = read_message(json.dumps(content).encode(), SERVER_BOUNDS)
    assert isinstance(message, Message)
    return message


def honoured(wanted: dict[str, Any]) -> Subscription:
    made = subscription(wanted)
    for server in made.filters:
        made.honour(server, said("subscriptions/acknowledged", notifications=wanted))
    return made


def test_a_client_is_told_first_what_servers_will_tell_of() -> None:
    made = subscription(WANTED, "7")
    made.honour("erp", said("subscriptions/acknowledged", notifications=WANTED))
    made.honour("mail", said("subscriptions/acknowledged", notifications={}))
    told = json.loads(made.acknowledgement())
    assert told["method"] == "notifications/subscriptions/acknowledged"
    assert told["params"] == {
        "_meta": {ID: 7},
        "notifications": {"toolsListChanged": True, "resourceSubscriptions": [RATES]},
    }
    assert json.loads(made.end()) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"resultType": "complete", "_meta": {ID: 7}},
    }


@pytest.mark.parametrize("notifications", [None, [], {}, {"resourceSubscriptions": RATES}])
def test_an_acknowledgement_of_nothing_leaves_nothing(notifications: Any) -> None:
    made = subscription({"resourceSubscriptions": [RATES]})
    assert made.is_empty
    made.honour("erp", said("subscriptions/acknowledged", notifications=notifications))
    assert made.is_empty


@pytest.mark.parametrize(
    ("server", "message", "told"),
    [
        ("erp", said("tools/list_changed"), "notifications/tools/list_changed"),
        ("erp", said("resources/updated", uri=RATES), "notifications/resources/updated"),
        ("mail", said("resources/updated", uri=INBOX), "notifications/resources/updated"),
        # of a server without tools, of another's resource, of one that was not asked for
        ("mail", said("tools/list_changed"), None),
        ("mail", said("resources/updated", uri=RATES), None),
        ("erp", said("resources/updated", uri="memo://other"), None),
        ("erp", said("resources/updated", uri=[RATES]), None),
        ("erp", said("resources/updated"), None),
        ("erp", said("prompts/list_changed"), None),
        ("erp", said("resources/list_changed"), None),
        ("erp", said("progress", progressToken=1, progress=1), None),
        ("erp", said("message", level="info", data="x"), None),
        ("erp", said("subscriptions/acknowledged", notifications=WANTED), None),
        ("erp", said("tasks", taskId="1"), None),
    ],
)
def test_only_changes_that_were_asked_for_pass(
    server: str, message: Message, told: str | None
) -> None:
    text = honoured(WANTED).told(server, message, permissions(ERP, MAIL))
    assert (text and json.loads(text)["method"]) == told


def test_a_servers_own_words_do_not_pass() -> None:
    message = said("resources/updated", uri=RATES, _meta={ID: "of another", "x": 1}, note="x")
    text = honoured(WANTED).told("erp", message, permissions(ERP, MAIL))
    assert text is not None
    assert json.loads(text)["params"] == {"_meta": {ID: "s"}, "uri": RATES}


def test_what_was_revoked_does_not_pass() -> None:
    revoked = permissions(ERP.model_copy(update={"resources": (), "tools": ("pay",)}), MAIL)
    made = honoured(WANTED)
    assert made.told("erp", said("resources/updated", uri=RATES), revoked) is None
    assert not made.is_the_same_under(revoked)
    assert not made.is_the_same_under(permissions(ERP))
    assert made.is_the_same_under(permissions(ERP.model_copy(update={"prefix": "erp_"}), MAIL))


def test_another_manifest_tells_of_the_lists_that_were_asked_for() -> None:
    made = honoured(WANTED)
    told = made.changed(permissions(ERP, MAIL), permissions(MAIL))
    assert [json.loads(one)["method"] for one in told] == ["notifications/tools/list_changed"]
    assert made.changed(permissions(MAIL), permissions(MAIL)) == []


def test_an_acknowledgement_is_known_by_its_method() -> None:
    assert is_acknowledgement(said("subscriptions/acknowledged"))
    assert not is_acknowledgement(said("tools/list_changed"))
