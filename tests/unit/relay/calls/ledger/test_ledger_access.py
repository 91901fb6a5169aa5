"""Questions to the ledger: what is in hand is given back, whatever becomes of it."""

import asyncio
import threading

import pytest

from relay.calls.ledger.ledger_access import MAX_QUESTIONS, LedgerAccess
from relay.calls.ledger.ledger_question import LedgerAnswer, LedgerQuestion
from relay.settings import Settings

QUESTION = LedgerQuestion(method="GET", target="/v1/usage/report", body=b"", seconds=5.0)


def test_a_thread_that_cannot_begin_leaves_nothing_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[LedgerAnswer] = []

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def ask() -> None:
        access = LedgerAccess(Settings(tenant_uid="uid-a", document_public_keys="unused"))
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", refused)
            asked = [access.ask(QUESTION, told.append) for _ in range(MAX_QUESTIONS + 1)]
        assert not any(asked)
        with monkeypatch.context() as idle:
            idle.setattr(threading.Thread, "start", lambda _: None)
            asked = [access.ask(QUESTION, told.append) for _ in range(MAX_QUESTIONS + 1)]
        assert asked == [True] * MAX_QUESTIONS + [False]
        await asyncio.sleep(0)

    asyncio.run(ask())
    # nobody is told of what was not asked
    assert told == []
