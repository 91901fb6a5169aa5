"""Says in words why a connection gave no answer: names of classes of a client library tell its readers nothing.

What an error says itself may be the other side's own words, so none of it is repeated.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import aiohttp
import httpx
import requests

_CLOSED: Final = "the connection was closed before the answer was whole"
_WORDS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((ssl.SSLCertVerificationError,), "its certificate is not trusted"),
    ((ssl.SSLError,), "the TLS handshake failed"),
    ((socket.gaierror,), "its name does not resolve"),
    ((ConnectionRefusedError,), "the connection is refused"),
    ((ConnectionError,), _CLOSED),
    ((TimeoutError, httpx.TimeoutException), "nothing came in time"),
    (
        (aiohttp.ClientConnectorError, httpx.ConnectError, requests.ConnectionError),
        "no connection could be made",
    ),
    ((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError), _CLOSED),
    ((httpx.NetworkError, httpx.RemoteProtocolError), _CLOSED),
    ((requests.exceptions.ChunkedEncodingError,), _CLOSED),
)
"""The first that fits the error or any of its causes counts."""
_UNREADABLE: Final = "its answer cannot be read"


def in_words(error: BaseException) -> str:
    """Returns why there was no answer, by what the error comes from."""
    causes = list(_causes(error))
    for kinds, words in _WORDS:
        if any(isinstance(one, kinds) for one in causes):
            return words
    return _UNREADABLE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Goes from an error to what it was raised from; of several tried at once to the first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            one = one.exceptions[0]
        else:
            one = one.__cause__ or one.__context__
