"""Runs a relay as a process and talks to its two ports. Another implementation can take its place by
RELAY_BLACKBOX_COMMAND; it gets the same RELAY_* environment."""

import os
import re
import shlex
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson
from prometheus_client.parser import text_string_to_metric_families
from tests.blackbox.process import Process, free_ports, python_environment, python_module
from tests.blackbox.tenant import KEY, MODEL, TENANT_UID, Signer
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Wire, request_bytes
from tests.growing_files import whole_text

from relay_contract.document import Acknowledgement, Document
from relay_contract.endpoints import (
    CONFIG_PATH,
    DOCUMENT_KEY,
    LEADER_HEADER,
    METRICS_PATH,
    READY_PATH,
    SLO_METRICS_PATH,
)

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Metrics:
    """A scrape. Of a name that is asked for its lines alone are parsed: all of a page takes tenths of a second."""

    text: str

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Returns all of the page, sample name and labels to value."""
        return _samples(self.text)

    def total(self, name: str, **labels: str) -> float:
        """Returns the sum over the series of that name that have all these labels; 0 without any."""
        wanted = labels.items()
        return sum(
            value for (_, found), value in self._samples_of(name).items() if wanted <= set(found)
        )

    def series(self, name: str) -> list[dict[str, str]]:
        """Returns the label sets of that name."""
        return [dict(labels) for _, labels in self._samples_of(name)]

    def _samples_of(self, name: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        lines = re.findall(rf"^{re.escape(name)}[ {{].*$", self.text, re.MULTILINE)
        return _samples("\n".join(lines))


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Relay:
    """A relay process with directories of its own. start() may be called again after stop()."""

    def __init__(self, directory: Path, signer: Signer, **settings: str) -> None:
        self.directory = directory
        self.signer = signer
        self.port, self.admin_port = free_ports(2)
        self.document_path = directory / "document" / DOCUMENT_KEY
        self.keys_directory = directory / "keys"
        self.tls_directory = directory / "tls"
        self.kept_tls_directory = directory / "kept-tls"
        self.state_directory = directory / "state"
        self.log = directory / "relay.log"
        self._settings = settings
        self._starts = 0
        for path in (
            self.document_path.parent,
            self.keys_directory,
            self.state_directory,
        ):
            path.mkdir(parents=True, exist_ok=True)
        self.process = self._spawn()

    # life

    def restart(self) -> None:
        """Starts a new process on the same ports and directories, as after a container's crash."""
        self.process.kill()
        self.process = self._spawn()

    def wait_ready(self) -> None:
        """Waits until the relay is ready; shows its log if it is not in time."""
        try:
            eventually(self._ready_or_dead, bool, what="the relay's readiness")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()[-4000:]}") from error
        assert self.process.exit_code is None, self.output()

    def wait_listening(self) -> None:
        """Waits until the admin port answers."""
        eventually(self._is_listening, what="the admin port")

    def _is_listening(self) -> bool:
        try:
            self.ready()
        except OSError:
            return False
        return True

    def output(self) -> str:
        """Returns the lines that the relay wrote, over all its starts."""
        return whole_text(self.log)

    # the document

    def write_document(self, document: Document) -> None:
        """Writes the document to the mounted file, replacing it in one step."""
        self.write_envelope(self.signer.sealed(document))

    def write_envelope(self, text: str) -> None:
        """Writes any text to the mounted file."""
        fresh = self.document_path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.document_path)

    def push(self, document: Document) -> Acknowledgement:
        """Pushes the document and asserts that it is acknowledged."""
        answer = self.push_envelope(self.signer.sealed(document))
        assert answer.status == 200, answer
        return Acknowledgement.model_validate(answer.json())

    def push_envelope(self, text: str, *, leader: str = "") -> Answer:
        """Pushes any text, as the leader that shows itself."""
        shown = {LEADER_HEADER: leader} if leader else {}
        return self.admin("PUT", CONFIG_PATH, text.encode(), headers=shown)

    def acknowledged(self) -> Acknowledgement:
        """Returns the acknowledgement of the document in force."""
        return Acknowledgement.model_validate(self.admin("GET", CONFIG_PATH).json())

    def give_key(self, provider: str, secret: str) -> None:
        """Writes the provider's key file, replacing it in one step."""
        fresh = self.keys_directory / f".{provider}.new"
        fresh.write_text(secret)
        fresh.replace(self.keys_directory / provider)

    # talking to it

    def wire(self, **options: Any) -> Wire:
        """Opens a raw connection to the traffic port."""
        return Wire(self.port, **options)

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        key: str | None = KEY,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        deadline_seconds: float = 10.0,
    ) -> Answer:
        """Makes a call on a connection of its own."""
        fields = dict(headers or {})
        if key is not None:
            fields.setdefault("authorization", f"Bearer {key}")
        with self.wire(tls=tls, deadline_seconds=deadline_seconds) as wire:
            wire.send(request_bytes(method, target, fields, body))
            return wire.answer()

    def chat(
        self, *, key: str | None = KEY, headers: dict[str, str] | None = None, **fields: Any
    ) -> Answer:
        """Makes a chat call; fields go into the body."""
        return self.ask("POST", CHAT, body=chat_body(**fields), key=key, headers=headers)

    def admin(
        self, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Makes a call to the admin port."""
        with Wire(self.admin_port) as wire:
            fields = {"connection": "close", **(headers or {})}
            wire.send(request_bytes(method, path, fields, body))
            return wire.answer()

    def metrics(self, path: str = METRICS_PATH) -> Metrics:
        """Scrapes all metrics."""
        answer = self.admin("GET", path)
        assert answer.status == 200, answer
        return Metrics(answer.body.decode())

    def slo(self) -> Metrics:
        """Scrapes the SLO counters."""
        return self.metrics(SLO_METRICS_PATH)

    def ready(self) -> Answer:
        """Asks the readiness probe."""
        return self.admin("GET", READY_PATH)

    def _ready_or_dead(self) -> bool:
        if self.process.exit_code is not None:
            return True
        try:
            return self.ready().status == 200
        except OSError:
            return False

    def _spawn(self) -> Process:
        command = os.environ.get("RELAY_BLACKBOX_COMMAND")
        return self._begin(
            shlex.split(command) if command else python_module("relay"),
            python_environment(
                **{
                    "RELAY_TENANT_UID": TENANT_UID,
                    "RELAY_DOCUMENT_PUBLIC_KEYS": self.signer.public_key,
                    "RELAY_TRAFFIC_HOST": "127.0.0.1",
                    "RELAY_ADMIN_HOST": "127.0.0.1",
                    "RELAY_TRAFFIC_PORT": str(self.port),
                    "RELAY_ADMIN_PORT": str(self.admin_port),
                    "RELAY_DOCUMENT_PATH": str(self.document_path),
                    "RELAY_DOCUMENT_POLL_SECONDS": "0.05",
                    "RELAY_STATE_DIRECTORY": str(self.state_directory),
                    "RELAY_UPSTREAM_KEYS_DIRECTORY": str(self.keys_directory),
                    "RELAY_TLS_DIRECTORY": str(self.tls_directory),
                    "RELAY_KEPT_TLS_DIRECTORY": str(self.kept_tls_directory),
                    "RELAY_DRAIN_ACCEPT_SECONDS": "0",
                    **{f"RELAY_{name.upper()}": value for name, value in self._settings.items()},
                }
            ),
        )

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        return Process(command, environment=environment, log=self.log)


class NewRelay(Protocol):
    """Starts a relay of the test's own: with a plain document, with the one given, or with none."""

    def __call__(
        self, *, document: Document | Literal["plain"] | None = "plain", **settings: str
    ) -> Relay:
        """Starts the relay."""


def chat_body(**fields: Any) -> bytes:
    """Returns the body of a small chat call; fields override."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **fields}
    return orjson.dumps(body)
