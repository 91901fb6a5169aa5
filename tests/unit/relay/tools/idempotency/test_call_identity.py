"""Which calls are the same one, and which are not, whatever they say of themselves."""

from typing import Any

import pytest
from tests.unit.relay.tools.protocol import META, message, raw

from relay.tools.idempotency.call_identity import META_KEY, CallIdentity, identity_of
from relay.tools.reading.eras import Era
from relay.tools.reading.protocol_errors import ProtocolError


def identity(
    *,
    caller: str = "uid/app",
    era: Era = Era.MODERN,
    server: str = "erp",
    header: str | None = None,
    key: Any = None,
    **params: Any,
) -> CallIdentity | ProtocolError:
    meta = META if key is None else {**META, META_KEY: key}
    content = raw(
        "tools/call", **{"meta": meta, "name": "pay", "arguments": {"a": 1, "b": [2]}, **params}
    )
    return identity_of(message(content), caller=caller, era=era, server=server, header=header)


def test_ids_order_and_what_a_client_says_beside_the_call_do_not_matter() -> None:
    same = [
        identity(),
        identity(id="x"),
        identity(arguments={"b": [2], "a": 1}),
        identity(meta={**META, "progressToken": 5}),
    ]
    assert len(set(same)) == 1


@pytest.mark.parametrize("key", [None, "k"])
def test_what_makes_it_another_call_with_a_key_and_without(key: str | None) -> None:
    others = [
        identity(key=key),
        identity(key=key, caller="uid/other"),
        identity(key=key, caller="uid-2/app"),
        identity(key=key, era=Era.LEGACY),
        identity(key=key, server="mail"),
        identity(key=key, name="refund"),
        identity(key=key, requestState="s"),
        identity(key=key, inputResponses={"a": {}}),
    ]
    calls = {one.call for one in others if isinstance(one, CallIdentity)}
    assert len(calls) == len(others)


def test_with_a_key_other_arguments_are_told_and_without_it_they_are_another_call() -> None:
    first, second = identity(key="k"), identity(key="k", arguments={"a": 2})
    assert isinstance(first, CallIdentity)
    assert isinstance(second, CallIdentity)
    assert first.call == second.call
    assert first.arguments != second.arguments
    plain, other = identity(), identity(arguments={"a": 2})
    assert isinstance(plain, CallIdentity)
    assert isinstance(other, CallIdentity)
    assert plain.call != other.call
    # a key is none of the hashes that a call without one has
    assert identity(key=plain.arguments) != plain


def test_a_key_may_stand_in_either_place() -> None:
    assert identity(key="k") == identity(header="k") == identity(key="k", header="k")
    assert identity(key="k", header="l") is ProtocolError.header_mismatch


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\u00e4", 7, True, ["k"], {"k": 1}])
def test_what_is_no_key_is_refused(key: object) -> None:
    assert identity(key=key) is ProtocolError.invalid_params
    if isinstance(key, str):
        assert identity(header=key) is ProtocolError.invalid_params
