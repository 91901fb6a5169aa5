"""What relays show a provider: read by itself, judged before it is handed over, never repeated in a message."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from tests.unit.relay_operator.certificates import DAY, other_key, pair
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator import names
from relay_operator.api.provider import Provider
from relay_operator.cluster import provider_secrets
from relay_operator.cluster.provider_secrets import ProviderSecrets
from relay_operator.names import Reason

SYSTEM = "relay-system"
NOW = 1_800_000_000.0


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    return server


def put(server: InMemoryApiServer, name: str, **entries: str | bytes) -> None:
    data = {
        key: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        for key, value in entries.items()
    }
    put_raw(server, name, data)


def put_raw(server: InMemoryApiServer, name: str, data: dict[str, str]) -> None:
    labels = {names.LABEL_PROVIDER: "p"}
    metadata = {"name": name, "namespace": SYSTEM, "labels": labels}
    server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


async def read(server: InMemoryApiServer, **spec: Any) -> ProviderSecrets:
    body = {"endpoint": {"url": "https://a.example.com"}, **spec}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": body})
    return await provider_secrets.read(server.connect(), provider, namespace=SYSTEM, now=NOW)


def problems(found: ProviderSecrets) -> list[str]:
    return [problem.message for problem in found.problems]


async def test_a_provider_that_is_shown_nothing_needs_nothing(server: InMemoryApiServer) -> None:
    assert await read(server) == ProviderSecrets()


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ({"secretName": "openai"}, ""),
        (
            {"secretName": "openai", "secretKey": "other"},
            "Secret relay-system/openai has no entry other",
        ),
        (
            {"secretName": "openai", "secretKey": "empty"},
            "Secret relay-system/openai has no entry empty",
        ),
        (
            {"secretName": "lost"},
            "there is no Secret relay-system/lost with the label relay-operator.dev/provider=p; "
            "create it with the entry api-key, or label it",
        ),
        ({"secretName": "openai", "secretKey": "long"}, ""),
        (
            {"secretName": "openai", "secretKey": "huge"},
            "entry huge of Secret relay-system/openai is longer than 8192 bytes, "
            "which no provider takes as a key",
        ),
        (
            {"secretName": "openai", "secretKey": "binary"},
            "entry binary of Secret relay-system/openai is not UTF-8 text",
        ),
    ],
)
async def test_a_key_is_read_and_what_is_wrong_with_it_is_named(
    server: InMemoryApiServer, auth: dict[str, str], says: str
) -> None:
    entries: dict[str, str | bytes] = {"long": "x" * 8192, "huge": "x" * 900_000, "empty": ""}
    entries |= {"api-key": "sk-1", "binary": b"\xff"}
    put(server, "openai", **entries)
    found = await read(server, auth=auth)
    assert problems(found) == ([says] if says else [])
    assert set(found.entries) == (set() if says else {"p"})
    assert all(problem.reason is Reason.SECRET_MISSING for problem in found.problems)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (" \n", "holds nothing but space"),
        ("sk-1\nsk-2", "holds characters that no header can"),
        ("sk\0x", "holds characters that no header can"),
        ("sk\t1", "holds characters that no header can"),
        ("sk\x7f", "holds characters that no header can"),
        ("\ufeffsk-1", "holds characters beyond ASCII"),
        ("sk\u20131", "holds characters beyond ASCII"),
        ("sk-1\u200b", "holds characters beyond ASCII"),
    ],
)
async def test_a_key_that_no_header_can_hold_is_refused(
    server: InMemoryApiServer, key: str, says: str
) -> None:
    put(server, "s", **{"api-key": key})
    [told] = problems(await read(server, auth={"secretName": "s"}))
    assert told.startswith(f"entry api-key of Secret relay-system/s {says}")


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\n", "  sk-1", "sk 1", '{"key": "x"}'])
async def test_space_around_a_key_is_no_part_of_it(server: InMemoryApiServer, key: str) -> None:
    put(server, "s", **{"api-key": key})
    found = await read(server, auth={"secretName": "s"})
    assert found.problems == ()
    assert found.entries["p"] == key


async def test_a_certificate_is_read_with_its_key_and_its_time(server: InMemoryApiServer) -> None:
    data = pair(since=NOW - DAY, until=NOW + DAY)
    chain = base64.b64decode(data["tls.crt"])
    noise = b"Bag Attributes\n    friendlyName: \xfcmlaut\n"
    put(server, "cert", **{"tls.crt": noise + chain, "tls.key": base64.b64decode(data["tls.key"])})
    found = await read(server, clientCertificate={"secretName": "cert"})
    assert found.problems == ()
    assert found.valid_until == NOW + DAY
    assert found.entries == {
        "p_tls.crt": chain.decode(),
        "p_tls.key": base64.b64decode(data["tls.key"]).decode(),
    }


def encrypted(key: str) -> str:
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )
    return base64.b64encode(private).decode()


GOOD = pair(since=NOW - DAY, until=NOW + DAY)
TEXT = base64.b64encode(b"the-text-nobody-may-repeat").decode()
BAD: dict[str, tuple[dict[str, str] | None, Reason, str]] = {
    "no Secret": (None, Reason.SECRET_MISSING, "there is no Secret relay-system/cert"),
    "no key": (
        {"tls.crt": GOOD["tls.crt"]},
        Reason.CERTIFICATE_INVALID,
        "there is no entry tls.key",
    ),
    "neither": ({}, Reason.CERTIFICATE_INVALID, "no entry tls.crt"),
    "another's key": (
        GOOD | {"tls.key": other_key()},
        Reason.CERTIFICATE_INVALID,
        "tls.key is not the key of the first certificate",
    ),
    "expired": (
        pair(since=NOW - 2 * DAY, until=NOW - 1),
        Reason.CERTIFICATE_EXPIRED,
        "expired at 2027-01-15T07:59:59Z",
    ),
    "not yet": (
        pair(since=NOW + 60, until=NOW + DAY),
        Reason.CERTIFICATE_INVALID,
        "is not valid before 2027-01-15T08:01:00Z",
    ),
    "garbage": (
        {"tls.crt": TEXT, "tls.key": TEXT},
        Reason.CERTIFICATE_INVALID,
        "tls.crt holds no certificate in PEM",
    ),
    "garbage for a key": (GOOD | {"tls.key": TEXT}, Reason.CERTIFICATE_INVALID, "tls.key holds no"),
    "encrypted": (
        GOOD | {"tls.key": encrypted(GOOD["tls.key"])},
        Reason.CERTIFICATE_INVALID,
        "tls.key is encrypted",
    ),
    "huge": (
        GOOD | {"tls.crt": base64.b64encode(base64.b64decode(GOOD["tls.crt"]) * 200).decode()},
        Reason.CERTIFICATE_INVALID,
        "larger than 16384 bytes",
    ),
}


@pytest.mark.parametrize("why", BAD)
async def test_a_certificate_that_cannot_be_used_is_refused_with_its_reason(
    server: InMemoryApiServer, why: str
) -> None:
    data, reason, says = BAD[why]
    put(server, "openai", **{"api-key": "sk-1"})
    if data is not None:
        put_raw(server, "cert", data)
    found = await read(
        server, auth={"secretName": "openai"}, clientCertificate={"secretName": "cert"}
    )
    (problem,) = found.problems
    assert (problem.what, problem.reason) == ("client certificate", reason)
    assert says in problem.message
    assert "nobody-may-repeat" not in problem.message
    # and holds up nothing else
    assert found.entries == {"p": "sk-1"}


PROXY = {"url": "http://10.1.2.3:3128"}


async def test_proxy_credentials_are_read_as_user_and_password(server: InMemoryApiServer) -> None:
    put(server, "proxy", username="a-user", password="a:w\u00f6rd ")
    found = await read(server, proxy=PROXY | {"auth": {"secretName": "proxy"}})
    assert (found.entries, found.problems) == ({"p_proxy": "a-user:a:w\u00f6rd "}, ())
    assert (await read(server, proxy=PROXY)).entries == {}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"username": "a"}, "Secret relay-system/proxy has no entry password"),
        ({"password": "a"}, "Secret relay-system/proxy has no entry username"),
        ({"username": "a:b", "password": "w"}, "entry username of Secret relay-system/proxy holds"),
        ({"username": "a", "password": "w\r\nx: y"}, "entry password of Secret relay-system/proxy"),
        ({"username": "a", "password": b"\xff"}, "is not UTF-8 text"),
        ({"username": "a", "password": "w" * 1023}, "longer than 1024 bytes"),
    ],
)
async def test_proxy_credentials_that_fit_into_no_header_are_refused(
    server: InMemoryApiServer, entries: dict[str, str | bytes], says: str
) -> None:
    put(server, "proxy", **entries)
    found = await read(server, proxy=PROXY | {"auth": {"secretName": "proxy"}})
    (problem,) = found.problems
    assert (problem.what, problem.reason) == ("proxy credentials", Reason.SECRET_MISSING)
    assert says in problem.message
    assert found.entries == {}


async def test_the_secrets_of_a_provider_are_those_that_its_spec_names() -> None:
    spec = {
        "endpoint": {"url": "https://a.example.com"},
        "auth": {"secretName": "key"},
        "clientCertificate": {"secretName": "cert"},
        "proxy": PROXY | {"auth": {"secretName": "proxy"}},
    }
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    assert provider.secret_names == ("key", "cert", "proxy")
