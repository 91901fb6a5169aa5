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
    """UID of the tenant; documents of any other tenant are rejected."""
    document_public_keys: str
    """Public keys that verify signed documents: comma-separated base64 of raw Ed25519 keys."""
    pod_name: str = ""
    """Included in log lines; metrics rely on the labels that Prometheus adds."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of worker processes. More than one only helps a pod with more than one core."""
    traffic_host: str = "::"
    """Address to listen on; :: is all addresses, including IPv4. Without IPv6 in the kernel only IPv4 is used."""
    traffic_port: Annotated[int, Field(ge=0, le=65535)] = TRAFFIC_PORT
    """0 chooses a free port, logged in the line `listening`; for tests."""
    admin_host: str = "::"
    """As traffic_host, for metrics, health and documents."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = ADMIN_PORT
    """0 chooses a free port; for tests."""
    admin_max_connections: Count = 64
    """Above this the oldest connection is closed, so that probes, scrapes and pushes always get through; they take milliseconds."""
    admin_request_seconds: Seconds = 10.0
    """Maximum time from a request's first byte to its last."""

    document_path: Path = Path(DOCUMENT_MOUNT) / DOCUMENT_KEY
    """The document, mounted from the ConfigMap that the operator writes."""
    document_poll_seconds: Seconds = 1.0
    """Seconds between checks of the mounted document, TLS and upstream keys; one stat each."""
    state_directory: Path = Path(STATE_MOUNT)
    """The accepted document is stored here, so that it survives a restart of the container."""
    upstream_keys_directory: Path = Path(UPSTREAM_KEYS_MOUNT)
    """One file for each provider key, mounted from a Secret."""
    tls_directory: Path = Path(TLS_MOUNT)
    """TLS certificate and key for callers, mounted from the Secret that the Tenant names."""
    kept_tls_directory: Path = Path(KEPT_TLS_MOUNT)
    """The last good certificate and its key are stored here, if the directory exists; it must be in memory (tmpfs)."""

    drain_seconds: Seconds = 30.0
    """Maximum time from SIGTERM to exit; must be below the pod's termination grace period."""
    drain_accept_seconds: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """New connections are still accepted for this long after SIGTERM, until endpoints have been removed from load balancers."""

    header_timeout_seconds: Seconds = 10.0
    """Maximum time from a request's first byte to the end of its headers; protects against slowloris attacks."""
    body_timeout_seconds: Seconds = 60.0
    """Longest pause within a request body."""
    idle_timeout_seconds: Seconds = 75.0
    """An idle client connection is closed after this; keep it above the 60 s of common load balancers."""
    connection_age_seconds: Seconds = 600.0
    """Maximum age of a client connection (minus up to a quarter as jitter). It is then closed after its current answer,
    so that load spreads to new pods."""
    slow_reader_seconds: Seconds = 120.0
    """A client that reads nothing of its answer for this long is disconnected, because it occupies a seat of its tenant."""
    max_header_bytes: Count = 32 * 1024
    """Maximum size of the headers of a request or an answer, including the start line."""
    max_headers: Count = 100
    """Maximum number of headers of a request or an answer."""
    max_body_bytes: Count = 32 * MIB
    """Maximum size of a request body; larger ones are refused with 413. Chat requests with a few images stay below 20 MiB."""
    max_buffered_bytes: Count = 256 * MIB
    """Total size of request bodies that one worker holds at a time. Above it calls are refused with 503, so that a burst of
    large bodies cannot exhaust the pod's memory.

    This limit and those on body size, connections and cached headers are lowered if the pod has little memory."""
    # by relay.process.memory_plan
    memory_limit_bytes: Annotated[int, Field(ge=32 * MIB, le=2**50)] | None = None
    """Memory of the pod; if not set, the cgroup's limit is used."""
    max_cached_head_bytes: Annotated[int, Field(ge=0, le=2**40)] = 32 * MIB
    """Total size of request headers that one worker caches to recognise repeated ones; above it, headers of further connections are parsed for each request."""
    max_connections: Count = 20_000
    """Maximum number of client connections per worker; more are closed immediately."""

    connect_timeout_seconds: Seconds = 5.0
    """Timeout for DNS lookup, TCP and TLS handshake to a provider."""
    first_byte_timeout_seconds: Seconds = 300.0
    """Maximum time from sending the request to the provider's first byte; reasoning models can take minutes."""
    upstream_idle_timeout_seconds: Seconds = 120.0
    """Longest pause within a provider's answer."""
    stream_keepalive_seconds: Seconds = 15.0
    """A stream that is silent for this long gets a comment line, which clients ignore and which keeps load balancers from closing the connection."""
    upstream_keepalive_seconds: Seconds = 50.0
    """An idle provider connection is closed after this, before common servers (60 s and more) close it."""
    upstream_age_seconds: Seconds = 600.0
    """Maximum age of a provider connection, so that DNS changes take effect."""
    upstream_warm_connections: Annotated[int, Field(ge=0, le=64)] = 1
    """Number of idle connections kept open to each provider in the document."""
    dns_ttl_seconds: Seconds = 30.0
    """How long a provider's resolved addresses are reused; if a lookup fails, the last good ones stay in use."""

    retry_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Additional attempts (fallback, reconnect) allowed per request on average, so that routes with several fallbacks do not
    multiply the load when everything fails."""
    retry_burst: Count = 100
    """Additional attempts allowed in a burst before that ratio applies."""
    shadow_concurrency: Count = 8
    """Maximum number of shadow copies in flight per worker; above it copies are skipped and counted."""
    shadow_max_body_bytes: Count = 1 * MIB
    """Larger requests are not copied, so that copies do not use the memory needed for callers' requests."""

    max_drained_answers: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Answers that the pod reads on at a time for callers who have left (afterDisconnect of a Provider), each worker its part; beyond it they are cancelled, so that such
    callers cannot make the pod hold connections without bound."""

    ledger_url: Annotated[str, Field(pattern="^https?://[^/ ]+/?$")] | None = None
    """URL to which records of attempts are delivered (relay-ledger); if not set, none are written."""
    ledger_token_file: Path | None = None
    """Token that authenticates this tenant's relays to the ledger; read again for each delivery."""
    outbox_directory: Path = Path(OUTBOX_MOUNT)
    """Records of attempts are stored here until the ledger has them; the directory must survive the container and provide the space below."""
    outbox_mebibytes: Annotated[int, Field(ge=4, le=65_536)] = 64
    """Maximum size of the outbox's files for attempts; about 3,200 attempts per MiB. At least 4 for each worker."""
    tool_call_mebibytes: Annotated[int, Field(ge=1, le=1024)] = 8
    """Maximum size of the outbox's files for tool calls; about 780 calls per MiB. When they are full, calls are served without being recorded.
    At least 1 for each worker, which keeps calls that reached a server and denied calls in separate files, and starts the next file before it ends one."""
    outbox_when_full: Literal["serve", "refuse"] = "serve"
    """serve: attempts are sent without being recorded, and counted as dropped. refuse: calls are refused until there is space."""
    outbox_drain_seconds: Seconds = 3.0
    """Time for the last deliveries after the workers have exited; together with drain_seconds it must be below the pod's termination grace period."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """Minimum level of the lines that are logged."""
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
