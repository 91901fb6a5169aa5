"""`relay`: the data plane of one tenant. Configured by RELAY_* (relay.settings) and by the signed document."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from importlib import metadata

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from relay.accounting.logs import Log
from relay.process.admin import AdminPort
from relay.process.document_acceptance import Acceptance
from relay.process.memory_plan import memory_limit, memory_plan
from relay.process.supervisor import Supervisor
from relay.process.traffic.listening import listening_socket
from relay.settings import Settings
from relay_contract.descriptor_limit import raise_descriptor_limit
from relay_contract.log_lines.library_log import take_over_library_logs
from relay_contract.seal import parse_public_keys


class RelayMisconfigured(Exception):
    """The process cannot start with these settings; the message names the setting and what to do."""


def main() -> None:
    """Serves until SIGTERM or SIGINT, then drains; exits 0 after a drain, 2 when misconfigured."""
    _arguments(sys.argv[1:])
    try:
        settings, acceptance = _configured()
    except RelayMisconfigured as error:
        sys.stderr.write(f"relay: {error}\n")
        sys.exit(2)
    # each call needs two
    raise_descriptor_limit()
    asyncio.run(_serve(settings, acceptance))


def _arguments(arguments: Sequence[str]) -> None:
    """Answers --help and --version, and exits then; refuses every other argument."""
    lines = [
        f"  RELAY_{name.upper()}{_default(field)}" for name, field in Settings.model_fields.items()
    ]
    parser = argparse.ArgumentParser(
        prog="relay",
        description="Serves one tenant's calls. The operator starts it, and tells it by a signed document where calls go.",
        epilog="\n".join(
            ["settings, from the environment; every default is right for a relay pod:", *lines]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"relay {_version()}")
    parser.parse_args(arguments)


def _default(field: FieldInfo) -> str:
    return " (required)" if field.is_required() else f"={field.default}"


def _version() -> str:
    try:
        return metadata.version("relay-operator")
    except metadata.PackageNotFoundError:
        return "of a checkout, not installed"


def _configured() -> tuple[Settings, Acceptance]:
    try:
        settings = Settings()  # type: ignore[call-arg]  # the required ones come from the environment
    except ValidationError as error:
        wrong = [
            ("RELAY_" + "_".join(str(part) for part in one["loc"]).upper(), one["msg"])
            for one in error.errors()
        ]
        raise RelayMisconfigured("; ".join(f"{name}: {why}" for name, why in wrong)) from error
    try:
        keys = parse_public_keys(settings.document_public_keys)
    except ValueError as error:
        raise RelayMisconfigured(
            "RELAY_DOCUMENT_PUBLIC_KEYS: not a comma-separated list of base64 Ed25519 keys"
        ) from error
    if not keys:
        raise RelayMisconfigured(
            "RELAY_DOCUMENT_PUBLIC_KEYS: no key, so no document could be taken"
        )
    return settings, Acceptance(keys, settings.tenant_uid)


async def _serve(settings: Settings, acceptance: Acceptance) -> None:
    log = Log(level=settings.log_level, pod=settings.pod_name, process="supervisor")
    take_over_library_logs(log.repeated)
    settings = _within_memory(settings, log)
    loop = asyncio.get_running_loop()
    listeners = _listeners(settings)
    supervisor = Supervisor(settings, acceptance, listeners, log)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    await supervisor.begin()
    admin = AdminPort(supervisor, settings)
    await admin.open()
    log.event(
        "info",
        "listening",
        traffic_port=listeners[0].getsockname()[1],
        admin_port=admin.port,
    )
    polling = asyncio.create_task(supervisor.poll())
    # a relay that no longer polls the mount would serve an old document unnoticed: end in order, be started anew
    polling.add_done_callback(lambda _: stopping.set())
    leasing = asyncio.create_task(supervisor.leases.run())
    await stopping.wait()
    polling.cancel()
    await _drain(supervisor, settings.drain_seconds, last_seconds=settings.outbox_drain_seconds)
    leasing.cancel()
    await admin.close()
    log.event("info", "stopped")
    for task in (polling, leasing):
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _within_memory(settings: Settings, log: Log) -> Settings:
    """Returns the settings with the bounds that the memory of the pod asks for."""
    limit = settings.memory_limit_bytes or memory_limit()
    if limit is None:
        return settings
    plan = memory_plan(settings, limit, tls=settings.tls_directory.is_dir())
    log.event("info", "memory_plan", limit_bytes=limit, **plan.settings)
    return settings.model_copy(update=plan.settings)


async def _drain(supervisor: Supervisor, seconds: float, *, last_seconds: float) -> None:
    """Ends the workers, at the latest after `seconds`, and then what delivers their records, which may take what is left of
    them and `last_seconds`."""
    until = time.monotonic() + seconds
    supervisor.drain()
    try:
        async with asyncio.timeout(seconds):
            await supervisor.workers_gone.wait()
    except TimeoutError:
        supervisor.kill()
    left = max(0.0, until - time.monotonic())
    await supervisor.shipping.finish(left + last_seconds)


def _listeners(settings: Settings) -> list[socket.socket]:
    """Opens one listening socket per worker on the same port; the kernel spreads connections over them."""
    listeners: list[socket.socket] = []
    port = settings.traffic_port
    for _ in range(settings.workers):
        try:
            listener = listening_socket(settings.traffic_host, port, shared=True)
        except OSError as error:
            raise SystemExit(f"relay: RELAY_TRAFFIC_PORT {port}: {error.strerror}") from error
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners
