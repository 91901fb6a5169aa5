"""The table has every method that the protocol's schemas and its extension for tasks name, and closes all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import gate, message

from relay.tools.methods import TABLE, Rule, Sender, rule_of
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Kind
from relay.tools.reading.protocol_errors import ProtocolError

LEGACY_REQUESTS = """initialize ping tools/list tools/call prompts/list prompts/get resources/list
    resources/templates/list resources/read resources/subscribe resources/unsubscribe completion/complete
    logging/setLevel tasks/get tasks/result tasks/list tasks/cancel"""
MODERN_REQUESTS = """server/discover tools/list tools/call prompts/list prompts/get resources/list
    resources/templates/list resources/read subscriptions/listen completion/complete tasks/get tasks/update tasks/cancel"""
LEGACY_SERVER_REQUESTS = """ping sampling/createMessage elicitation/create roots/list tasks/get tasks/result
    tasks/list tasks/cancel"""
LEGACY_CLIENT_NOTIFICATIONS = "initialized cancelled progress roots/list_changed tasks/status"
MODERN_CLIENT_NOTIFICATIONS = "cancelled"
LEGACY_SERVER_NOTIFICATIONS = """cancelled progress message tools/list_changed prompts/list_changed
    resources/list_changed resources/updated elicitation/complete tasks/status"""
MODERN_SERVER_NOTIFICATIONS = """cancelled progress message tools/list_changed prompts/list_changed
    resources/list_changed resources/updated subscriptions/acknowledged tasks"""


def rows(era: Era, sender: Sender, kind: Kind) -> set[str]:
    return {key[3] for key in TABLE if key[:3] == (era, sender, kind)}


def notifications(names: str) -> set[str]:
    return {f"notifications/{name}" for name in names.split()}


@pytest.mark.parametrize(
    ("era", "sender", "kind", "expected"),
    [
        (Era.LEGACY, Sender.CLIENT, Kind.REQUEST, set(LEGACY_REQUESTS.split())),
        (Era.MODERN, Sender.CLIENT, Kind.REQUEST, set(MODERN_REQUESTS.split())),
        (Era.LEGACY, Sender.SERVER, Kind.REQUEST, set(LEGACY_SERVER_REQUESTS.split())),
        (Era.MODERN, Sender.SERVER, Kind.REQUEST, set()),
        (
            Era.LEGACY,
            Sender.CLIENT,
            Kind.NOTIFICATION,
            notifications(LEGACY_CLIENT_NOTIFICATIONS),
        ),
        (
            Era.MODERN,
            Sender.CLIENT,
            Kind.NOTIFICATION,
            notifications(MODERN_CLIENT_NOTIFICATIONS),
        ),
        (
            Era.LEGACY,
            Sender.SERVER,
            Kind.NOTIFICATION,
            notifications(LEGACY_SERVER_NOTIFICATIONS),
        ),
        (
            Era.MODERN,
            Sender.SERVER,
            Kind.NOTIFICATION,
            notifications(MODERN_SERVER_NOTIFICATIONS),
        ),
    ],
)
def test_the_table_is_complete(era: Era, sender: Sender, kind: Kind, expected: set[str]) -> None:
    assert rows(era, sender, kind) == expected


@given(
    method=st.text(max_size=20)
    | st.sampled_from(sorted(key[3] for key in TABLE)).flatmap(
        lambda known: st.sampled_from([known.upper(), known + " ", known + "\0", "/" + known])
    ),
    era=st.sampled_from(Era),
    kind=st.sampled_from([Kind.REQUEST, Kind.NOTIFICATION]),
    sender=st.sampled_from(Sender),
)
def test_a_method_that_is_not_in_the_table_is_closed(
    method: str, era: Era, kind: Kind, sender: Sender
) -> None:
    assert rule_of(era, sender, kind, method) is Rule.DENIED or method in rows(era, sender, kind)


@pytest.mark.parametrize("era", Era)
def test_a_closed_method_and_an_unknown_one_are_refused_alike(era: Era) -> None:
    for method in ("tasks/get", "tasks/cancel", "admin/reset", "tools/Call", ""):
        asked = message({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": "1"}})
        assert gate(era).decide(asked) is ProtocolError.unknown_method


@pytest.mark.parametrize(
    ("method", "era"),
    [("initialize", Era.MODERN), ("ping", Era.MODERN), ("server/discover", Era.LEGACY)],
)
def test_a_method_of_the_other_era_is_unknown(method: str, era: Era) -> None:
    asked = message({"jsonrpc": "2.0", "id": 1, "method": method})
    assert gate(era).decide(asked) is ProtocolError.unknown_method
