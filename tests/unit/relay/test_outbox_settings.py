"""Settings of the outbox: all absent means none, and what is half set keeps the relay from starting."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay.settings import Settings

_REQUIRED = {"tenant_uid": "uid-a", "document_public_keys": "key"}
_LEDGER = {"ledger_url": "http://relay-ledger.platform.svc:8090", "ledger_token_file": "/token"}


def test_without_a_ledger_there_is_none() -> None:
    assert Settings(**_REQUIRED).ledger_url is None  # type: ignore[arg-type]


def test_a_ledger_needs_a_token() -> None:
    with pytest.raises(ValidationError, match="RELAY_LEDGER_TOKEN_FILE"):
        Settings(**_REQUIRED, ledger_url=_LEDGER["ledger_url"])  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["relay-ledger:8090", "http://ledger/path", "ftp://ledger", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    values: dict[str, Any] = {**_REQUIRED, **_LEDGER, "ledger_url": url}
    with pytest.raises(ValidationError, match="ledger_url"):
        Settings(**values)


def test_each_worker_needs_space() -> None:
    values: dict[str, Any] = {**_REQUIRED, **_LEDGER, "workers": 4, "outbox_mebibytes": 15}
    with pytest.raises(ValidationError, match="4 workers need 16"):
        Settings(**values)
    assert Settings(**{**values, "outbox_mebibytes": 16}).outbox_mebibytes == 16


def test_each_worker_needs_space_for_tool_calls() -> None:
    values: dict[str, Any] = {**_REQUIRED, **_LEDGER, "workers": 4, "tool_call_mebibytes": 3}
    with pytest.raises(ValidationError, match="RELAY_TOOL_CALL_MEBIBYTES is 3; 4 workers need 4"):
        Settings(**values)
    assert Settings(**{**values, "tool_call_mebibytes": 4}).tool_call_mebibytes == 4
