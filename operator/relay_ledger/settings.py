"""Settings of the ledger, from its environment."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay_contract.billing.budget import LEASE_SECONDS
from relay_contract.billing.delivery import INGEST_PORT

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=2**40)]
LONGEST_MONTH_DAYS = 31
REPORT_BASE = r"^(https://[^/?#\s@]+|http://(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?)$"
"""Where a key of an administrator may go: by TLS, or not beyond this machine; without a name and password, and a path."""


class ReportSource(BaseModel):
    """A provider whose reports of usage and costs are asked for, and the file with its key of an administrator."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True
    )

    provider: Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$")]
    dialect: Literal["openai", "anthropic"]
    key_file: Path
    base: Annotated[str, Field(pattern=f"^$|{REPORT_BASE}")] = ""
    """Another address than the provider's own, as REPORT_BASE has it."""
    own_keys: tuple[Annotated[str, Field(pattern=r"^[!-~]{1,128}$")], ...] = ()
    """The provider's ids of keys that only relays have."""
    projects: tuple[Annotated[str, Field(pattern=r"^[!-~]{1,128}$")], ...] = ()
    """Projects of OpenAI or workspaces of Anthropic, by their ids, that the Provider's key is of; all where there are none."""
    settle_hours: Annotated[int, Field(ge=1, le=24 * 14)] = 48
    """Days that ended later than so long ago are provisional."""


class Settings(BaseSettings):
    """Read once from RELAY_LEDGER_*."""

    model_config = SettingsConfigDict(
        env_prefix="RELAY_LEDGER_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    database: SecretStr
    """`sqlite:////path/ledger.db`, or `postgresql://user:password@host/name`."""
    keys_file: Path = Path("/etc/relay-ledger/keys/keys")
    """Keys from which the tokens of relays and of the operator are derived, one per line. The first key creates tokens; all keys verify them."""
    keys_poll_seconds: Seconds = 2.0
    """Interval at which that file is checked for changes."""

    ingest_host: str = "::"
    """Address to listen on for records, queries of relays, and credit; :: is all addresses, including IPv4."""
    ingest_port: Port = INGEST_PORT
    """0 chooses a free port, logged in the line `listening`; for tests."""
    admin_host: str = "::"
    """As ingest_host, for probes and metrics."""
    admin_port: Port = 8091
    """0 chooses a free port; for tests."""
    body_seconds: Seconds = 10.0
    """Maximum time from the headers of a batch to its last byte."""
    max_batches: Count = 64
    """Maximum number of batches in progress; more are refused with 503, and relays send them again."""
    max_connections: Count = 4096
    """Maximum number of connections per port, and at most half of the file descriptors that the process may open beyond its own 64. Above it, a connection of the address with the most is closed."""
    connections_per_address: Count = 512
    """Maximum number of connections per client address, behind which may be all relay pods of a node. Above it, the connection that has waited longest is closed. At most half of the port's limit if file descriptors bound that."""
    drain_seconds: Seconds = 20.0
    """Maximum time from SIGTERM to exit."""

    lease_seconds: Annotated[int, Field(ge=2, le=3600)] = LEASE_SECONDS
    """A relay pod's unspent lease of a budget is returned this long after the pod's last message."""

    past_days: Annotated[int, Field(ge=1, le=366)] = 35
    """Records of attempts older than this are quarantined: their statements may be final."""
    future_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Records of attempts sent further in the future than this are quarantined: a clock is wrong."""
    open_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 6 * 3600
    """An attempt without a result this long after it was sent is closed by the ledger; set it longer than the longest stream takes."""
    upkeep_seconds: Seconds = 15.0
    """Interval at which overdue attempts are closed and gauges are updated."""
    audit_hours: Annotated[int, Field(ge=1, le=30 * 24)] = 24
    """Interval between audits of the days for which records may still arrive (past_days)."""
    reports: tuple[ReportSource, ...] = ()
    """Providers whose own reports are compared with the ledger every report_hours, as a JSON list. None by default."""
    report_hours: Annotated[int, Field(ge=1, le=31 * 24)] = 24
    """Interval between comparisons with a provider; a failed one is retried every hour."""
    report_mebibytes: Annotated[int, Field(ge=96, le=64 * 1024)] = 192
    """Memory that one comparison may use in addition to the serving process; the program itself needs 65 MiB."""
    grace_hours: Annotated[int, Field(ge=1, le=35 * 24)] = 72
    """A statement waits this long after the end of its period for late records; then it becomes final."""
    kept_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """Records of whole months older than this are deleted; their sums are kept."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """Minimum level of the lines that are logged."""

    @model_validator(mode="after")
    def _keeps_what_it_takes(self) -> Self:
        # a record may be known as repeated only while its month is there
        if self.kept_days < self.past_days + LONGEST_MONTH_DAYS:
            raise ValueError(
                f"RELAY_LEDGER_KEPT_DAYS is {self.kept_days}; it has to be RELAY_LEDGER_PAST_DAYS and a month"
                f" ({self.past_days + LONGEST_MONTH_DAYS}) at least, or what comes again would be booked again"
            )
        return self
