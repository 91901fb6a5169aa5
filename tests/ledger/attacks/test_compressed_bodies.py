"""Compressed bodies: no relay sends one, so nobody unpacks them, which is a thousand times the work of sending them."""

import gzip

import httpx
from tests.ledger.ledger_process import LedgerProcess, operator_token, payments_token

from relay_contract.billing.budget import ALERTS_TOLD_PATH, BUDGETS_PATH, LEASES_PATH
from relay_contract.billing.usage_reading import CREDITS_PATH, USAGE_HISTORY_PATH

QUESTIONS = (
    ("PUT", BUDGETS_PATH, operator_token()),
    ("POST", ALERTS_TOLD_PATH, operator_token()),
    ("POST", LEASES_PATH, None),
    ("POST", USAGE_HISTORY_PATH, None),
    ("POST", CREDITS_PATH, payments_token()),
)


def test_a_compressed_question_is_not_unpacked(serving: LedgerProcess) -> None:
    for method, path, token in QUESTIONS:
        answered = serving.ask(
            method,
            path,
            token=token,
            body=gzip.compress(b"{}"),
            headers={"Content-Encoding": "gzip"},
        )
        assert answered.status_code == httpx.codes.BAD_REQUEST, path
        assert "JSON" in answered.json()["error"]["message"], path
