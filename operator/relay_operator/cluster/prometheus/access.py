"""How Prometheus is reached: address, certificates, credentials and headers, as the platform team set them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from relay_operator.errors import MetricsUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Address and credentials. Files hold what is secret; each is read again for every query, so that it may change.

    An empty path means none. headers are sent with every query, such as X-Scope-OrgID, the tenant of a Mimir.
    """

    url: str
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    token_file: str = ""
    username_file: str = ""
    password_file: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class FileCredentials(AuthBase):
    """Adds a bearer token, or a user name and password, from files."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        access = self._access
        if access.token_file:
            request.headers["Authorization"] = f"Bearer {_read(access.token_file)}"
        elif access.password_file:
            basic = HTTPBasicAuth(_read(access.username_file), _read(access.password_file))
            return basic(request)
        return request


def _read(path: str) -> str:
    """Returns the file's text. The message names the path, never what stands in it."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MetricsUnavailable(
            f"the credentials for Prometheus cannot be read from {path} ({type(error).__name__})"
        ) from error
    if not text or not text.isprintable():
        raise MetricsUnavailable(f"{path} holds no credential that an HTTP header could carry")
    return text
