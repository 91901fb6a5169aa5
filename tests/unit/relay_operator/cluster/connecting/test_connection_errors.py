"""Why there was no answer is said in words that mean something to whoever reads a condition, whichever client met it."""

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from aiohttp.client_reqrep import ConnectionKey

from relay_operator.cluster.connecting.connection_errors import in_words

KEY: Any = ConnectionKey("erp.test", 443, True, True, None, None, None)
"""What the errors of aiohttp's connector stand for."""


def caused(error: Exception, by: BaseException) -> Exception:
    """Returns an error as a client library raises it over another one."""
    try:
        raise error from by
    except type(error) as raised:
        return raised


def connector(by: OSError) -> Exception:
    return caused(aiohttp.ClientConnectorError(KEY, by), by)


def pool(by: OSError) -> Exception:
    return caused(httpx.ConnectError("All connection attempts failed"), by)


def session(by: OSError) -> Exception:
    return caused(requests.ConnectionError("Max retries exceeded"), by)


CONNECTING: list[Callable[[OSError], Exception]] = [connector, pool, session]


@pytest.mark.parametrize("client", CONNECTING)
@pytest.mark.parametrize(
    ("by", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "the connection is refused"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its name does not resolve"),
        (ssl.SSLCertVerificationError(1, "x"), "its certificate is not trusted"),
        (ssl.SSLError(1, "x"), "the TLS handshake failed"),
        (OSError(errno.EHOSTUNREACH, "x"), "no connection could be made"),
        (TimeoutError(), "nothing came in time"),
    ],
)
def test_a_connection_that_was_not_made_is_told_by_its_cause(
    client: Callable[[OSError], Exception], by: OSError, words: str
) -> None:
    assert in_words(client(by)) == words


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("x"),
        aiohttp.ClientOSError(errno.EPIPE, "x"),
        httpx.RemoteProtocolError("x"),
        httpx.ReadError("x"),
        requests.exceptions.ChunkedEncodingError("x"),
        ConnectionResetError(),
    ],
)
def test_an_answer_that_was_broken_off_is_told_as_that(error: Exception) -> None:
    assert in_words(error) == "the connection was closed before the answer was whole"


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.InvalidURL("x"),
        # of a request that nobody looks at
        aiohttp.ClientResponseError(None, ()),  # type: ignore[arg-type]
        httpx.DecodingError("x"),
        requests.exceptions.JSONDecodeError("x", "x", 0),
        UnicodeError(),
        ValueError("the server's own words"),
    ],
)
def test_what_is_no_answer_is_told_without_its_words(error: Exception) -> None:
    assert in_words(error) == "its answer cannot be read"


def test_of_several_ways_that_failed_the_first_is_told() -> None:
    ways = ExceptionGroup("x", [ConnectionRefusedError(), OSError(errno.ENETUNREACH, "x")])
    by = caused(OSError("All connection attempts failed"), ways)
    assert in_words(caused(httpx.ConnectError("x"), by)) == "the connection is refused"
