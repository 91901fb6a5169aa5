"""Reads what relays show a provider from Secrets of the operator's namespace: key, client certificate, proxy credentials; of a tool
server its credential.

Only Secrets that are labelled for it count (names.LABEL_PROVIDER, names.LABEL_TOOL_SERVER).
Each is read by itself: what is missing or wrong holds up nothing else. No value is ever logged or told.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from relay_contract import certificate
from relay_contract.certificate import CertificateUnusable
from relay_operator import names
from relay_operator.api.provider import Auth, ClientCertificate, Provider, ProxyAuth
from relay_operator.api.tool_server import ToolServer
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.names import Reason

_MOST_KEY_BYTES = 8192
"""A key travels in one header line; servers take lines of this length at most. Some keys are signed tokens of 4 KiB."""
_MOST_CREDENTIALS_BYTES = 1024
_MOST_PEM_BYTES = 16 * 1024
"""A chain of four certificates with keys of 4096 bits, and the key, have 12 KiB."""
_SPACE = " \t\n\r\x0b\f"
_PEM_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----[A-Za-z0-9+/=\s]+-----END [A-Z0-9 ]+-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Tells why something cannot be handed to relays: what it is (`key`), and a reason and words for its Provider."""

    what: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSecrets:
    """Entries of the tenants' Secret with their values, and what is missing among them.

    valid_until is the end of the client certificate's time, in seconds since the epoch. of_tenants are a tool server's credentials by
    Tenant, None where all are shown the same.
    """

    entries: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    valid_until: int | None = None
    of_tenants: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Reading:
    provider: str
    namespace: str
    now: float
    label: str = names.LABEL_PROVIDER
    key_entry: str = ""
    entries: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    valid_until: int | None = None

    def refuse(self, what: str, message: str, reason: Reason = Reason.SECRET_MISSING) -> None:
        self.problems.append(Problem(what=what, reason=reason, message=message))

    def key(self, auth: Auth, secret: Manifest | None) -> None:
        found = self._text(secret, auth.secret_name, auth.secret_key, "key")
        if found is None:
            return
        # relays send the key without the space around it, such as the line end that an editor leaves
        why = _unfit_as_key(found.strip(_SPACE))
        if why:
            self.refuse("key", f"{self._entry(auth.secret_name, auth.secret_key)} {why}")
        else:
            self.entries[self.key_entry or self.provider] = found

    def credentials(self, auth: ProxyAuth, secret: Manifest | None) -> None:
        what = "proxy credentials"
        name = auth.secret_name
        user = self._text(secret, name, auth.username_key, what)
        password = self._text(secret, name, auth.password_key, what)
        if user is None or password is None:
            return
        # RFC 7617 section 2
        both = ((auth.username_key, user), (auth.password_key, password))
        unfit = [entry for entry, text in both if not text.isprintable()]
        if ":" in user:
            self.refuse(
                what, f"{self._entry(name, auth.username_key)} holds a colon, which no user has"
            )
        elif unfit:
            self.refuse(
                what,
                f"{self._entry(name, unfit[0])} holds characters that cannot be printed, such as a line end",
            )
        elif len(f"{user}:{password}".encode()) > _MOST_CREDENTIALS_BYTES:
            self.refuse(
                what,
                f"user and password in Secret {self.namespace}/{name} are longer than {_MOST_CREDENTIALS_BYTES} bytes",
            )
        else:
            self.entries[names.proxy_credentials_entry(self.provider)] = f"{user}:{password}"

    def certificate(self, shown: ClientCertificate, secret: Manifest | None) -> None:
        what, label = "client certificate", f"Secret {self.namespace}/{shown.secret_name}"
        if secret is None:
            self.refuse(what, self._lacking(shown.secret_name, "the entries tls.crt and tls.key"))
            return
        files = (certificate.CERTIFICATE_FILE, certificate.KEY_FILE)
        chain, key = (_raw(secret, name) for name in files)
        try:
            found = certificate.check(chain, key, now=self.now)
        except CertificateUnusable as error:
            reason = Reason.CERTIFICATE_EXPIRED if error.has_expired else Reason.CERTIFICATE_INVALID
            self.refuse(what, f"{label} cannot be used as a client certificate: {error}", reason)
            return
        blocks = [b"\n".join(_PEM_BLOCK.findall(data or b"")) for data in (chain, key)]
        if sum(map(len, blocks)) > _MOST_PEM_BYTES:
            message = f"{label} is larger than {_MOST_PEM_BYTES} bytes; leave out certificates that nobody needs"
            self.refuse(what, message, Reason.CERTIFICATE_INVALID)
            return
        self.valid_until = found.not_after
        # of PEM the blocks alone: what stands between them may be in any encoding
        for entry, block in zip(
            names.client_certificate_entries(self.provider), blocks, strict=True
        ):
            self.entries[entry] = block.decode("ascii") + "\n"

    def _text(self, secret: Manifest | None, name: str, entry: str, what: str) -> str | None:
        found = _raw(secret, entry)
        try:
            text = (found or b"").decode()
        except UnicodeDecodeError:
            self.refuse(what, f"{self._entry(name, entry)} is not UTF-8 text")
            return None
        if not text:
            label = f"Secret {self.namespace}/{name}"
            lacking = self._lacking(name, f"the entry {entry}")
            self.refuse(what, f"{label} has no entry {entry}" if secret is not None else lacking)
            return None
        return text

    def _lacking(self, name: str, entries: str) -> str:
        """Says that a Secret is missing, or is not for this Provider: whether one is there is nothing to a Provider's author."""
        return (
            f"there is no Secret {self.namespace}/{name} with the label {self.label}={self.provider}; "
            f"create it with {entries}, or label it"
        )

    def _entry(self, name: str, entry: str) -> str:
        return f"entry {entry} of Secret {self.namespace}/{name}"


async def read(
    api: ApiServer, provider: Provider, *, namespace: str, now: float
) -> ProviderSecrets:
    """Reads everything that relays show the provider; now in seconds since the epoch.

    Raises ApiServerRefused or Unavailable.
    """
    reading = _Reading(provider.metadata.name, namespace, now)
    for name, take in _wanted(provider, reading):
        secret = await api.get("Secret", name, namespace=namespace)
        take(secret if _is_for(reading, secret) else None)
    return ProviderSecrets(
        entries=reading.entries, problems=tuple(reading.problems), valid_until=reading.valid_until
    )


async def read_of_tool_server(
    api: ApiServer, server: ToolServer, *, namespace: str
) -> ProviderSecrets:
    """Reads the credential that relays show a tool server, if it names one. Raises as read does."""
    auth, name = server.spec.auth, server.metadata.name
    if auth is None:
        return ProviderSecrets()
    entry = names.tool_server_entry(name)
    reading = _Reading(name, namespace, 0.0, label=names.LABEL_TOOL_SERVER, key_entry=entry)
    secret = await api.get("Secret", auth.secret_name, namespace=namespace)
    found = secret if _is_for(reading, secret) else None
    reading.key(auth, found)
    return ProviderSecrets(
        entries=reading.entries,
        problems=tuple(reading.problems),
        of_tenants=_of_tenants(auth.secret_key, found) if auth.per_tenant else None,
    )


def _of_tenants(own: str, secret: Manifest | None) -> dict[str, str]:
    """Returns the entries that can be shown, but for the operator's own."""
    found = {}
    for entry in ((secret or {}).get("data") or {}).keys() - {own}:
        value = (_raw(secret, entry) or b"").decode(errors="replace").strip(_SPACE)
        if not _unfit_as_key(value):
            found[entry] = value
    return found


def _is_for(reading: _Reading, secret: Manifest | None) -> bool:
    """Tells whether whoever keeps the Secret has said that it is for this Provider or ToolServer.

    Without that its author could have any Secret of the operator's namespace sent to an address of their own.
    """
    labels = ((secret or {}).get("metadata") or {}).get("labels") or {}
    return reading.provider in labels.get(reading.label, "").split("_")


def _wanted(
    provider: Provider, reading: _Reading
) -> Iterator[tuple[str, Callable[[Manifest | None], None]]]:
    """Goes through the Secrets that the Provider names, with what takes each."""
    auth, shown, proxy = provider.spec.auth, provider.spec.client_certificate, provider.spec.proxy
    if auth is not None:
        yield auth.secret_name, lambda secret: reading.key(auth, secret)
    if shown is not None:
        yield shown.secret_name, lambda secret: reading.certificate(shown, secret)
    if proxy is not None and (credentials := proxy.auth) is not None:
        yield credentials.secret_name, lambda secret: reading.credentials(credentials, secret)


def _unfit_as_key(key: str) -> str:
    """Says why no header can hold the key; empty where one can.

    Source: RFC 9110 section 5.5, field values are visible ASCII characters and spaces.
    """
    if not key:
        return "holds nothing but space"
    if len(key.encode()) > _MOST_KEY_BYTES:
        return f"is longer than {_MOST_KEY_BYTES} bytes, which no provider takes as a key"
    if not key.isascii():
        return (
            "holds characters beyond ASCII, which are part of no key: perhaps a byte order mark, or what a word "
            "processor made of quotes and dashes"
        )
    if not key.isprintable():
        return "holds characters that no header can, such as a line end between two keys"
    return ""


def _raw(secret: Manifest | None, entry: str) -> bytes | None:
    value = ((secret or {}).get("data") or {}).get(entry)
    try:
        return None if value is None else base64.b64decode(value)
    except (binascii.Error, TypeError, ValueError):
        return None
