"""Signatures as Standard Webhooks 1.0 has them, and secrets that a receiver can use."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from relay_operator.cluster.webhook import signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the examples of the specification."""


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "secret"
    file.write_text(text)
    return str(file)


def test_the_example_of_the_libraries_is_signed_as_they_do(tmp_path: Path) -> None:
    secrets = signature.read_secrets(written(tmp_path, SECRET))
    found = signature.headers(
        secrets,
        id_="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_secrets_are_rotated_each_signs(tmp_path: Path) -> None:
    other = base64.b64encode(b"x" * 24).decode()
    secrets = signature.read_secrets(written(tmp_path, f"{SECRET}\nwhsec_{other}\n"))
    found = signature.headers(secrets, id_="msg_1", at=1, body=b"{}")["webhook-signature"]
    first, second = found.split(" ")
    assert first != second
    digest = hmac.new(b"x" * 24, b"msg_1.1.{}", hashlib.sha256).digest()
    assert second == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("whsec_", "24 to 64 random bytes"),
        ("whsec_c2hvcnQ=", "24 to 64 random bytes"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must be whsec_"),
        ("whsec_not base64!", "base64"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "24 to 64 random bytes"),
    ],
)
def test_a_secret_that_nobody_could_check_is_refused_without_being_told(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(signature.SecretUnusable) as refused:
        signature.read_secrets(written(tmp_path, text))
    assert said in str(refused.value)
    assert not text.removeprefix("whsec_") or text.removeprefix("whsec_") not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(signature.SecretUnusable, match="nowhere"):
        signature.read_secrets(str(tmp_path / "nowhere"))


def test_a_file_that_never_ends_is_read_to_its_bound_alone() -> None:
    with pytest.raises(signature.SecretUnusable):
        signature.read_secrets("/dev/zero")
