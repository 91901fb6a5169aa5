"""The HTTP session that prometheus-api-client asks through: bounded in size and time, without redirects and retries."""

import http.client
import time
from typing import Any

import requests
import urllib3

from relay_operator.cluster.prometheus.access import Access, FileCredentials

_LONGEST_ANSWER_SECONDS = 5.0
_PIECE_BYTES = 512 * 1024
_LONGEST_URL_QUERY = 1500
"""Longer ones go into the body. Gateways that allow reading only take GET, so short ones stay where those look."""


class AnswerTooLarge(requests.RequestException):
    """An answer exceeded its limit and was not read to its end."""


class Answer:
    """A whole answer, as prometheus-api-client looks at one."""

    def __init__(self, status_code: int, content: bytes) -> None:
        self.status_code = status_code
        self.content = content

    def json(self) -> dict[str, Any]:
        """Returns what the library takes for the answer's object: as its result, the answer as it came.

        The library would drop what says that the result is not whole, and decode a million labels to do so.
        """
        return {"data": {"result": self.content}}


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
        except (urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            # requests hands these on as they are where a body is read without it
            raise requests.ConnectionError(f"the answer ended early: {error}") from error
        finally:
            response.close()

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Finds none: the library would read the answer without a limit to prepare a request that nobody sends."""


def _body(response: requests.Response, most_bytes: int) -> bytes:
    ends = time.monotonic() + _LONGEST_ANSWER_SECONDS
    pieces, size = [], 0
    # as they arrive; requests' own iteration waits until a piece is full
    while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > most_bytes:
            raise AnswerTooLarge(f"more than {most_bytes} bytes")
        if time.monotonic() > ends:
            raise requests.Timeout(f"longer than {_LONGEST_ANSWER_SECONDS:g} s")
    return b"".join(pieces)
