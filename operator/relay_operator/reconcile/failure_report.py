"""A failed reconcile, told by the object it concerns before the worker retries it."""

from collections.abc import Awaitable
from contextlib import suppress
from typing import NoReturn

from relay_operator.errors import OperatorError


async def report_and_raise(error: OperatorError, report: Awaitable[None]) -> NoReturn:
    """Writes the report, then raises the error so that the worker retries with backoff.

    A report that fails as well is left to that retry: the first error is the one to log.
    """
    with suppress(OperatorError):
        await report
    raise error
