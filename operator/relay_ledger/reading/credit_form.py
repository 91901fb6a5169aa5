"""A payment as JSON, read strictly: an amount is text, and its currency is named."""

import json
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from relay_contract.billing.attempt_event import Identifier
from relay_contract.billing.event_line import UnreadableEvent, unrepeated
from relay_ledger.money.amounts import PICOS_PER_MICRO, micro_usd
from relay_ledger.money.rounding import CURRENCIES
from relay_ledger.reports.usage_history import BadQuestion
from relay_ledger.store.credits import Payment

MAX_MICRO: Final = 10**16
"""Ten thousand million of any currency; what may be paid at once is bounded in USD."""


class CreditForm(BaseModel):
    """The body of `POST /v1/credits`. A negative amount takes back what was paid. The currency is one that a statement may be in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant_uid: Identifier
    reference: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
    amount: Annotated[str, Field(max_length=32)]
    currency: Annotated[str, Field(max_length=3)]
    note: Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""

    @field_validator("amount")
    @classmethod
    def _is_an_amount(cls, amount: str) -> str:
        if not 0 < abs(_micro(amount)) <= MAX_MICRO:
            raise ValueError("it is not 0, and at most 10000000000")
        return amount

    @field_validator("currency")
    @classmethod
    def _is_a_currency(cls, currency: str) -> str:
        if currency not in CURRENCIES:
            raise ValueError(f"one of {', '.join(sorted(CURRENCIES))}")
        return currency

    @property
    def payment(self) -> Payment:
        """Returns the payment."""
        return Payment(
            self.reference,
            _micro(self.amount) * PICOS_PER_MICRO,
            self.note,
            CURRENCIES[self.currency],
        )


def _micro(amount: str) -> int:
    digits = amount.removeprefix("-")
    return micro_usd(digits) * (-1 if digits != amount else 1)


def read_credit(body: bytes) -> CreditForm:
    """Reads a request's body; raises BadQuestion."""
    try:
        return CreditForm.model_validate(json.loads(body, object_pairs_hook=unrepeated))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BadQuestion(f"{place}: {message}" if place else message) from None
    except UnreadableEvent as error:
        raise BadQuestion(str(error)) from None
    except (ValueError, RecursionError):
        raise BadQuestion("the body is no JSON") from None
