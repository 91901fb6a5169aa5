"""Starts the proxies, each with one worker on one core, in front of the same provider."""

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench.relay import envoy_config, ledger, places
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay_contract.document import (
    ApiKey,
    Catalogue,
    Document,
    LatencyObjective,
    Limits,
    Provider,
    ProviderAuth,
    ProviderModel,
    Queue,
    Route,
    Side,
    TenantDocument,
)
from relay_contract.seal import seal

_SETTLE_SECONDS = 120.0
_ASK_SECONDS = 2.0
"""Between questions whether it is done: an answer takes milliseconds of the relay's processor time, which are counted as its calls'."""


class StackFailed(Exception):
    """A process did not start; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running proxy with all its processes. admin_port is that of a relay that keeps records."""

    name: str
    port: int
    pids: tuple[int, ...]
    admin_port: int = 0

    def settle(self) -> None:
        """Waits until what the load has left to do is done: the delivery of its records."""
        until = time.monotonic() + _SETTLE_SECONDS
        while self.admin_port and self._undelivered():
            if time.monotonic() > until:
                raise StackFailed(f"{self.name} has records left after {_SETTLE_SECONDS:g} s")
            time.sleep(_ASK_SECONDS)

    def _undelivered(self) -> float:
        address = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        names = ("relay_outbox_records_waiting ", "relay_outbox_unread_bytes ")
        return sum(float(line.split()[1]) for line in lines if line.startswith(names))

    def cpu_seconds(self) -> float:
        """Returns the CPU time of all threads so far, in nanoseconds, since streams cost only ticks per run."""
        nanoseconds = 0
        for pid in self.pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(FileNotFoundError):  # the process has just ended
                    nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def memory_mib(self) -> float:
        """Returns the proportional set size: memory shared between its processes counts once."""
        kib = 0
        for pid in self.pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kib += next(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
        return kib / 1024


@contextmanager
def provider(binary: Path) -> Iterator[Stack]:
    """Runs the provider that all stacks call."""
    command = [
        str(binary),
        str(places.UPSTREAM_PORT),
        str(places.STREAM_EVENTS),
        str(places.STREAM_INTERVAL_MS),
    ]
    with _running(
        "provider", places.LOAD_CPU, command, {}, places.UPSTREAM_PORT, Path(os.devnull)
    ) as stack:
        yield stack


@contextmanager
def envoy(site: Path, work: Path) -> Iterator[Stack]:
    """Runs Envoy as a plain reverse proxy: no filter but the router, no access log."""
    config = envoy_config.plain(places.ENVOY_PORT)
    with _envoy("Envoy", config, places.ENVOY_PORT, site, work) as stack:
        yield stack


@contextmanager
def envoy_with_duties(site: Path, work: Path) -> Iterator[Stack]:
    """Runs Envoy with its equivalents of the relay's features: weights, rate limit, provider's key, a JSON line a call."""
    config = envoy_config.with_duties(places.ENVOY_DUTIES_PORT, work / "envoy-access.log")
    with _envoy("Envoy+", config, places.ENVOY_DUTIES_PORT, site, work) as stack:
        yield stack


@contextmanager
def _envoy(
    name: str, config: dict[str, object], port: int, site: Path, work: Path
) -> Iterator[Stack]:
    path = work / f"{name}.json"
    path.write_text(json.dumps(config))
    command = [str(site / "envoy" / "_bin" / "envoy"), "-c", str(path), "--concurrency", "1"]
    command += ["-l", "error", "--disable-hot-restart"]
    with _running(name, places.PROXY_CPU, command, {}, port, work / f"{name}.log") as stack:
        yield stack


@contextmanager
def litellm(site: Path, work: Path) -> Iterator[Stack]:
    """Runs LiteLLM's proxy in its fastest mode: one worker, no database, no keys, no callbacks."""
    config = work / "litellm.yaml"
    url = f"http://127.0.0.1:{places.UPSTREAM_PORT}/v1"
    parameters = {"model": f"openai/{places.UPSTREAM_MODEL}", "api_base": url, "api_key": "k"}
    model = {"model_name": places.MODEL, "litellm_params": parameters}
    settings = {"model_list": [model], "litellm_settings": {"telemetry": False}}
    config.write_text(json.dumps(settings))
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        # its fastest mode looks up no key and asks for an explicit setting
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    start = "from litellm import run_server; run_server()"
    command = [places.PYTHON, "-c", start, "--config", str(config), "--num_workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(places.LITELLM_PORT)]
    environment |= {"PYTHONPATH": str(site), "PATH": f"{site}/bin:{os.environ['PATH']}"}
    with _running(
        *("LiteLLM", places.PROXY_CPU, command, environment, places.LITELLM_PORT),
        work / "litellm.log",
        patience=120.0,
    ) as stack:
        yield stack


@contextmanager
def relay(site: Path, work: Path) -> Iterator[Stack]:
    """Runs the relay with every feature on: limits, a provider's quota, queue, sticky canary, objectives, usage log."""
    ports = places.RELAY_PORT, places.RELAY_ADMIN_PORT
    with _relay("relay", ports, site, work / "relay", {}) as stack:
        yield stack


@contextmanager
def recording_relay(site: Path, work: Path) -> Iterator[Stack]:
    """Runs the same relay, which records every attempt and delivers it to a ledger on SQLite, on the core of the load."""
    directory = work / "recording"
    outbox = directory / "outbox"
    outbox.mkdir(parents=True)
    with ledger.running(work / "ledger") as booking:
        settings = {
            "RELAY_LEDGER_URL": booking.url,
            "RELAY_LEDGER_TOKEN_FILE": str(booking.token_file),
            "RELAY_OUTBOX_DIRECTORY": str(outbox),
            # one core's calls of the whole run: none is to be dropped
            "RELAY_OUTBOX_MEBIBYTES": "1024",
        }
        ports = places.RECORDING_PORT, places.RECORDING_ADMIN_PORT
        with _relay("relay+", ports, site, directory, settings) as stack:
            yield replace(stack, admin_port=ports[1])


@contextmanager
def _relay(
    name: str, ports: tuple[int, int], site: Path, work: Path, settings: dict[str, str]
) -> Iterator[Stack]:
    work.mkdir(exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    keys = work / "keys"
    keys.mkdir()
    for provider_name in ("legacy", "holysheep"):
        (keys / provider_name).write_text(f"key-of-{provider_name}")
    document = work / "relay.json"
    document.write_text(seal(_document(), key))
    environment = {
        "PYTHONPATH": str(site),
        "RELAY_TENANT_UID": "uid-bench",
        "RELAY_DOCUMENT_PUBLIC_KEYS": public.decode(),
        "RELAY_TRAFFIC_HOST": "127.0.0.1",
        "RELAY_TRAFFIC_PORT": str(ports[0]),
        "RELAY_ADMIN_HOST": "127.0.0.1",
        "RELAY_ADMIN_PORT": str(ports[1]),
        "RELAY_DOCUMENT_PATH": str(document),
        "RELAY_STATE_DIRECTORY": str(work),
        "RELAY_UPSTREAM_KEYS_DIRECTORY": str(keys),
        "RELAY_TLS_DIRECTORY": str(work / "no-tls"),
        **settings,
    }
    command = [places.PYTHON, "-m", "relay"]
    with _running(
        name, places.PROXY_CPU, command, environment, ports[0], work / "relay.log"
    ) as stack:
        yield stack


def _document() -> Document:
    """Returns a document whose limits are far above what one core serves: each is checked, none applies."""
    url = f"http://127.0.0.1:{places.UPSTREAM_PORT}/v1"
    limits = {"requests_per_minute": 60_000_000, "tokens_per_minute": 60_000_000_000}
    model = ProviderModel(name=places.MODEL, upstream_name=places.UPSTREAM_MODEL)

    def provider(name: str) -> Provider:
        return Provider.model_validate(
            {
                "name": name,
                "url": url,
                "auth": ProviderAuth(key_file=name),
                "models": (model,),
                "limits": limits,
            }
        )

    return Document(
        generation=1,
        catalogue=Catalogue(providers=(provider("legacy"), provider("holysheep"))),
        tenant=TenantDocument(
            name="bench",
            uid="uid-bench",
            namespace="relay-bench",
            keys=(
                ApiKey(
                    name="production",
                    sha256=hashlib.sha256(places.API_KEY.encode()).hexdigest(),
                    priority="high",
                ),
            ),
            queue=Queue(concurrency=1024, max_depth=1024),
            limits=Limits.model_validate(limits),
            routes=(
                Route(
                    name="chat",
                    stable=Side(provider="legacy", fingerprint="a" * 12),
                    canary=Side(provider="holysheep", fingerprint="b" * 12),
                    canary_percent=10,
                    fallback=(Side(provider="holysheep", fingerprint="b" * 12),),
                    objectives=(
                        LatencyObjective(signal="FirstToken", max_milliseconds=1500),
                        LatencyObjective(signal="Overhead", max_milliseconds=50),
                    ),
                ),
            ),
        ),
    )


@contextmanager
def _running(
    name: str,
    cpu: int,
    command: list[str],
    environment: dict[str, str],
    port: int,
    log: Path,
    *,
    patience: float = 30.0,
) -> Iterator[Stack]:
    """Runs the process group while the block runs, and ends it by its own id.

    All groups are of one session: Linux gives each session its part of a core first (sched_autogroup), whatever the niceness of what
    is in it, and the ledger would take half of the load's core.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            places.pinned(cpu, command),
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            process_group=0,
            cwd=log.parent if log.parent.is_dir() else None,
        )
    try:
        _wait_for(name, process, port, log, patience)
        yield Stack(name, port, tuple(_group(process.pid)))
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(
    name: str, process: subprocess.Popen[bytes], port: int, log: Path, patience: float
) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        if _answers(port):
            return
        time.sleep(0.2)
    tail = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
    raise StackFailed(f"{name} did not answer on port {port} within {patience:g} s: {tail}")


def _answers(port: int) -> bool:
    """Returns whether a chat call gets 200."""
    body = json.dumps({"model": places.MODEL, "messages": [{"role": "user", "content": "hi"}]})
    head = (
        f"POST {places.PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {places.API_KEY}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall((head + body).encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _group(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _leader(int(entry.name)) == leader:
            yield int(entry.name)


def _leader(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:  # other processes of the machine end meanwhile
        return None
