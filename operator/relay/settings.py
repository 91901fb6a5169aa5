"""Settings of one relay process, from its environment; everything about the tenant stands in the document instead."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay_contract.endpoints import (
    ADMIN_PORT,
    DOCUMENT_KEY,
    DOCUMENT_MOUNT,
    KEPT_TLS_MOUNT,
    OUTBOX_MOUNT,
    STATE_MOUNT,
    TLS_MOUNT,
    TRAFFIC_PORT,
    UPSTREAM_KEYS_MOUNT,
)

MIB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=2**40)]


class Settings(BaseSettings):
    """Read once from RELAY_*; every default is right for a relay pod."""

    model_config = SettingsConfigDict(env_prefix="RELAY_", frozen=True, extra="ignore")

    tenant_uid: str
    """The only tenant whose documents are taken."""
    document_public_keys: str
    """Comma-separated base64 of raw Ed25519 public keys that may sign documents."""
    pod_name: str = ""
    """Stands in log lines; metrics leave it to the scraper's own labels."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Worker processes. One keeps a small tenant cheap; more only helps a pod with more than one core."""
    traffic_host: str = "::"
    """Every address, of IPv4 too; a kernel without IPv6 listens on IPv4 alone."""
    traffic_port: Annotated[int, Field(ge=0, le=65535)] = TRAFFIC_PORT
    """0 takes a free port, named in the log line `listening`; for tests."""
    admin_host: str = "::"
    """As traffic_host, for metrics, health and documents."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = ADMIN_PORT
    """0 takes a free port; for tests."""
    admin_max_connections: Count = 64
    """Beyond it the oldest gives way: probes, scrapes and pushes must get in, and take milliseconds."""
    admin_request_seconds: Seconds = 10.0
    """From a request's first byte to its last."""

    document_path: Path = Path(DOCUMENT_MOUNT) / DOCUMENT_KEY
    """The document, mounted from the ConfigMap that the operator writes."""
    document_poll_seconds: Seconds = 1.0
    """Seconds between checks of the mounted document, TLS and upstream keys; one stat each."""
    state_directory: Path = Path(STATE_MOUNT)
    """The accepted document is kept here over a restart of the container."""
    upstream_keys_directory: Path = Path(UPSTREAM_KEYS_MOUNT)
    """One file for each key that providers are shown, mounted from a Secret."""
    tls_directory: Path = Path(TLS_MOUNT)
    """Certificate and key towards callers, mounted from the Secret that the Tenant names."""
    kept_tls_directory: Path = Path(KEPT_TLS_MOUNT)
    """The last good certificate and its key are kept here, if it exists; it has to be in memory."""

    drain_seconds: Seconds = 30.0
    """From SIGTERM to exit at the latest; below the pod's termination grace period."""
    drain_accept_seconds: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """New connections are still served this long after SIGTERM: endpoints take that long to leave load balancers."""

    header_timeout_seconds: Seconds = 10.0
    """From a request's first byte to the end of its head; ends a slowloris."""
    body_timeout_seconds: Seconds = 60.0
    """Longest silence inside a request body."""
    idle_timeout_seconds: Seconds = 75.0
    """A client connection without a request is closed after this; above the 60 s of common load balancers."""
    connection_age_seconds: Seconds = 600.0
    """A client connection is closed after its answer once it is this old (less up to a quarter), so that load spreads
    over new pods."""
    slow_reader_seconds: Seconds = 120.0
    """A client that takes no byte of its answer for this long is disconnected: it holds a seat of its tenant."""
    max_header_bytes: Count = 32 * 1024
    """Of the head of a request or an answer, start line included."""
    max_headers: Count = 100
    """Of a request or an answer."""
    max_body_bytes: Count = 32 * MIB
    """Above it 413. Chat requests with a few images stay below 20 MiB."""
    max_buffered_bytes: Count = 256 * MIB
    """Request bodies held by one worker at a time; beyond it 503, so that a burst of large bodies cannot kill the pod.

    This, the largest body, the connections and the cached heads become less where the memory of the pod asks for it."""
    # by relay.process.memory_plan
    memory_limit_bytes: Annotated[int, Field(ge=32 * MIB, le=2**50)] | None = None
    """The memory of the pod; without it the limit of the control group counts."""
    max_cached_head_bytes: Annotated[int, Field(ge=0, le=2**40)] = 32 * MIB
    """Request heads that one worker keeps to recognise them; beyond it further connections have theirs parsed each time."""
    max_connections: Count = 20_000
    """Client connections of one worker; more are closed at once."""

    connect_timeout_seconds: Seconds = 5.0
    """Name look-up, TCP and TLS handshake to a provider."""
    first_byte_timeout_seconds: Seconds = 300.0
    """From the request sent to the provider's first byte; reasoning models think for minutes."""
    upstream_idle_timeout_seconds: Seconds = 120.0
    """Longest silence inside a provider's answer."""
    stream_keepalive_seconds: Seconds = 15.0
    """An answer's stream that is silent this long gets a comment line: clients skip it, load balancers see traffic."""
    upstream_keepalive_seconds: Seconds = 50.0
    """An idle provider connection is closed after this, before common servers (60 s and more) close it under us."""
    upstream_age_seconds: Seconds = 600.0
    """A provider connection is replaced after this, so that changes of DNS reach us."""
    upstream_warm_connections: Annotated[int, Field(ge=0, le=64)] = 1
    """Connections to each provider of the document kept open without traffic."""
    dns_ttl_seconds: Seconds = 30.0
    """Seconds for which a provider's addresses are reused; when a look-up fails the last good ones serve on."""

    retry_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Further attempts (fallback, second connect) allowed per request, on average, so that routes with several
    fallbacks cannot multiply load when everything fails."""
    retry_burst: Count = 100
    """Further attempts that may come at once before the ratio binds."""
    shadow_concurrency: Count = 8
    """Shadow copies in flight per worker; beyond it a sample is skipped and counted."""
    shadow_max_body_bytes: Count = 1 * MIB
    """Larger requests are not copied: a shadow may not cost the memory of a user's call."""

    ledger_url: Annotated[str, Field(pattern="^https?://[^/ ]+/?$")] | None = None
    """Where relay-ledger takes records of attempts; without it none are written."""
    ledger_token_file: Path | None = None
    """The token by which the ledger knows this tenant's relays, read anew for each delivery."""
    outbox_directory: Path = Path(OUTBOX_MOUNT)
    """Records of attempts are kept here until the ledger has them; has to outlive the container, and needs the space below."""
    outbox_mebibytes: Annotated[int, Field(ge=4, le=65_536)] = 64
    """All that the files of the outbox take; some 3,200 attempts a mebibyte. At least 4 for each worker."""
    tool_call_mebibytes: Annotated[int, Field(ge=1, le=1024)] = 8
    """All that the files of tool calls take, beside those of attempts; some 780 calls a mebibyte. When they are full, calls are served and not recorded.
    At least 1 for each worker: it writes what servers had and what is only denied into files of their own, and begins the next before it ends one."""
    outbox_when_full: Literal["serve", "refuse"] = "serve"
    """serve: attempts are sent without being recorded, and counted as dropped. refuse: calls are refused until there is room."""
    outbox_drain_seconds: Seconds = 3.0
    """For the last deliveries after the workers have ended; with drain_seconds below the pod's termination grace period."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The least important lines that are written."""
    usage_log: bool = True
    """One line per provider attempt on standard output."""

    @model_validator(mode="after")
    def _has_what_an_outbox_needs(self) -> Self:
        if self.ledger_url is None:
            return self
        if self.ledger_token_file is None:
            raise ValueError("RELAY_LEDGER_URL is set, so RELAY_LEDGER_TOKEN_FILE has to be")
        rooms = (
            ("RELAY_OUTBOX_MEBIBYTES", self.outbox_mebibytes, 4 * self.workers),
            ("RELAY_TOOL_CALL_MEBIBYTES", self.tool_call_mebibytes, self.workers),
        )
        for name, given, least in rooms:
            if given < least:
                raise ValueError(f"{name} is {given}; {self.workers} workers need {least}")
        return self
