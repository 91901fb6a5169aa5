"""Routes that take and give JSON: whose token it is, the form of a body, and errors as answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from relay_ledger.ingest.booking_desk import DatabaseAway, TooBusy

_BEARER: Final = "bearer "
_Form = TypeVar("_Form", bound=BaseModel)
Answer = Callable[[web.Request], Awaitable[web.Response]]


class RequestRefused(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


UNAUTHORIZED: Final = (
    HTTPStatus.UNAUTHORIZED,
    "unauthorized",
    "the token in Authorization is missing, or nobody's who may ask this",
)


def answering(answer: Answer, *, on_away: Callable[[], None] = lambda: None) -> Answer:
    """Returns the handler of a route: what is refused, too much, or without its database is an answer as well."""

    async def answered(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except RequestRefused as refused:
            return _error(refused.status, refused.code, str(refused))
        except TooBusy:
            message = "as much is in hand as there may be: ask again"
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "busy", message)
        except DatabaseAway:
            on_away()
            message = "the database does not answer: nothing has changed, ask again"
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "database", message)

    return answered


async def read_form(
    request: web.Request, form: type[_Form], *, most_bytes: int, seconds: float
) -> _Form:
    """Reads a body of bounded size, in bounded time; raises RequestRefused."""
    if request.content_length is not None and request.content_length > most_bytes:
        raise RequestRefused(*_too_long(most_bytes))
    body = b""
    try:
        async with asyncio.timeout(seconds):
            while not request.content.at_eof() and len(body) <= most_bytes:
                body += await request.content.read(most_bytes + 1 - len(body))
    except TimeoutError:
        message = "the body did not come in time"
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "slow", message) from None
    if len(body) > most_bytes:
        raise RequestRefused(*_too_long(most_bytes))
    try:
        return form.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"{place}: {first['msg']}" if place else first["msg"]
    except (ValueError, RecursionError):
        message = "the body is no JSON"
    raise RequestRefused(HTTPStatus.BAD_REQUEST, "invalid", message)


def token_in(request: web.Request) -> str:
    """Returns the token of a request, empty if it has none."""
    value = request.headers.get("Authorization", "")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""


def json_answer(form: BaseModel, *, without: set[str] | None = None) -> web.Response:
    """Returns a form as an answer, without some of its fields."""
    return web.json_response(text=form.model_dump_json(by_alias=True, exclude=without))


def _too_long(most: int) -> tuple[HTTPStatus, str, str]:
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", f"a message has at most {most} bytes"


def _error(status: HTTPStatus, code: str, message: str) -> web.Response:
    headers = {"Retry-After": "1"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return web.json_response(
        {"error": {"code": code, "message": message}}, status=status, headers=headers
    )
