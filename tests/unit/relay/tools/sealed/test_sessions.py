"""Session ids open for the caller that they were sealed for, within their time, and for nobody else."""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from relay.tools.sealed.sealing import NONCE_BYTES
from relay.tools.sealed.sessions import (
    LIFETIME_SECONDS,
    MAX_SERVER_SESSION_CHARACTERS,
    ServerSession,
    Session,
    SessionSeal,
    is_session_id,
)

NONCE = bytes(range(NONCE_BYTES))
ERP = ServerSession("erp", "abc", "2025-11-25", has_logging=True)
MAIL = ServerSession("mail", "", "2025-06-18", has_logging=False)
SESSION = Session(version="2025-06-18", granted=("erp", "wiki", "mail"), servers=(ERP, MAIL))


def seal(
    *, secret: bytes = b"s", caller: str = "uid-1/production", now: float = 1000.0
) -> SessionSeal:
    return SessionSeal(secret=secret, caller=caller, now=now)


def sealed(session: Session = SESSION) -> str:
    text = seal().sealed(session, NONCE)
    assert text is not None
    return text


def test_a_session_comes_back_as_it_was() -> None:
    opened = seal(now=1000.0 + LIFETIME_SECONDS - 1).opened(sealed())
    assert opened is not None
    assert (opened.version, opened.granted, opened.servers) == (
        SESSION.version,
        SESSION.granted,
        SESSION.servers,
    )
    assert [opened.place(name) for name in ("erp", "mail", "wiki")] == [0, 1, -1]


@pytest.mark.parametrize(
    "other",
    [
        seal(caller="uid-2/production"),
        seal(caller="uid-1/staging"),
        seal(secret=b"other"),
        seal(secret=b""),
        seal(now=1000.0 + LIFETIME_SECONDS),
    ],
)
def test_a_session_opens_for_its_caller_within_its_time_alone(other: SessionSeal) -> None:
    assert other.opened(sealed()) is None


def test_a_session_id_names_no_server_and_none_of_its_ids() -> None:
    text = sealed(Session(version="v", granted=("erpserver",), servers=(ERP,)))
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    for hidden in ("erpserver", "ZXJwc2VydmVy", "abc"):
        assert hidden not in text


@given(at=st.integers(0, 300), sign=st.sampled_from("0aZ-é= "))
def test_an_id_that_was_changed_is_unknown_or_the_same(at: int, sign: str) -> None:
    text = sealed()
    at %= len(text)
    opened = seal().opened(text[:at] + sign + text[at + 1 :])
    assert opened is None or opened.servers == SESSION.servers


@given(st.text(max_size=100))
def test_no_text_but_an_id_opens(text: str) -> None:
    assert seal().opened(text) is None


def test_without_a_secret_nothing_is_sealed_and_nothing_opens() -> None:
    nobody = seal(secret=b"")
    assert nobody.sealed(SESSION, NONCE) is None
    caller = b"uid-1/production"
    key = hmac.new(b"", b"relay session id v2\0" + caller, hashlib.sha256).digest()
    forged = NONCE + AESGCM(key).encrypt(NONCE, b'[9e9,"v",[],[]]', caller)
    assert nobody.opened(base64.urlsafe_b64encode(forged).decode().rstrip("=")) is None


def test_each_caller_has_a_key_of_its_own() -> None:
    one, other = (
        base64.urlsafe_b64decode((seal(caller=caller).sealed(SESSION, NONCE) or "") + "===")
        for caller in ("uid-1/production", "uid-1/batch")
    )
    # under one key the same nonce would have hidden the same text in the same bytes
    assert one[:NONCE_BYTES] == other[:NONCE_BYTES]
    assert one[NONCE_BYTES : 2 * NONCE_BYTES] != other[NONCE_BYTES : 2 * NONCE_BYTES]


def test_a_session_too_large_for_a_header_is_not_sealed() -> None:
    servers = tuple(
        ServerSession(
            f"server-{number}", "x" * MAX_SERVER_SESSION_CHARACTERS, "v", has_logging=False
        )
        for number in range(16)
    )
    assert seal().sealed(Session(version="v", granted=(), servers=servers), NONCE) is None


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("", True),
        ("abc-1.2~", True),
        ("a b", False),
        ("a\r\nx: y", False),
        ("é", False),
        ("x" * MAX_SERVER_SESSION_CHARACTERS, True),
        ("x" * (MAX_SERVER_SESSION_CHARACTERS + 1), False),
    ],
)
def test_a_servers_session_id_is_visible_ascii(text: str, is_one: bool) -> None:
    assert is_session_id(text) is is_one
