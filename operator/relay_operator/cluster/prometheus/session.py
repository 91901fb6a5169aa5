"""The HTTP session that prometheus-api-client asks through: bounded in size and time, and strict in what it takes.

The library reads an answer's `data.result` whatever else the answer says; here an answer that is an error, partial, or of
another form is none.
"""

import time
from typing import Any

import orjson
import requests

from relay_operator.cluster.prometheus.access import Access, FileCredentials
from relay_operator.errors import MetricsUnavailable

_LONGEST_ANSWER_SECONDS = 5.0
_LONGEST_URL_QUERY = 1500
"""Longer ones go into the body. Gateways that allow reading only take GET, so short ones stay where those look."""
_MOST_QUOTED = 200


class AnswerTooLarge(requests.RequestException):
    """An answer exceeded its limit and was not read to its end."""


class Answer:
    """A whole answer, as prometheus-api-client looks at one."""

    def __init__(self, status_code: int, content: bytes) -> None:
        self.status_code = status_code
        self.content = content

    def json(self) -> dict[str, Any]:
        """Returns the answer's object. Raises MetricsUnavailable unless it is a whole range of samples."""
        try:
            answer = orjson.loads(self.content)
            data = answer["data"]
            succeeded, kind = answer["status"] == "success", data["resultType"]
            whole = isinstance(data["result"], list)
            warnings = answer.get("warnings")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MetricsUnavailable("Prometheus answered something else than samples") from error
        if warnings:
            raise MetricsUnavailable(f"Prometheus' answer is not whole: {_quoted(warnings)}")
        if not succeeded or kind != "matrix" or not whole:
            raise MetricsUnavailable("Prometheus answered something else than samples")
        return {"data": data}


class BoundedSession(requests.Session):
    """Reads answers up to a limit of size and time, as the other side sends them: never unpacked, never redirected."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.headers.update(access.headers)
        self.auth = FileCredentials(access)
        self.verify = access.ca_file or True
        if access.certificate_file:
            self.cert = (access.certificate_file, access.key_file)
        self.most_bytes = 0

    def request(  # type: ignore[override]  # the library asks for nothing else of what it gets
        self, method: str, url: str, *, params: dict[str, str], **kwargs: Any
    ) -> Answer:
        """Asks one query; returns its answer, read to the end."""
        kwargs |= {"stream": True, "allow_redirects": False}
        if len(params["query"]) > _LONGEST_URL_QUERY:
            response = super().request("POST", url, data=params, **kwargs)
        else:
            response = super().request(method, url, params=params, **kwargs)
        try:
            return Answer(response.status_code, _body(response, self.most_bytes))
        finally:
            response.close()


def _body(response: requests.Response, most_bytes: int) -> bytes:
    ends = time.monotonic() + _LONGEST_ANSWER_SECONDS
    body = bytearray()
    # in pieces as they arrive; requests' own iteration waits until a piece is full
    while piece := response.raw.read1(64 * 1024, decode_content=False):
        body += piece
        if len(body) > most_bytes:
            raise AnswerTooLarge(f"more than {most_bytes} bytes")
        if time.monotonic() > ends:
            raise requests.Timeout(f"longer than {_LONGEST_ANSWER_SECONDS:g} s")
    return bytes(body)


def _quoted(warnings: Any) -> str:
    text = str(warnings[0] if isinstance(warnings, list) else warnings)
    return "".join(one for one in text if one.isprintable())[:_MOST_QUOTED]
