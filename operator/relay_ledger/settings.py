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
    """Keys of the tokens of relays and of the operator, one a line. The first makes tokens, all of them verify."""
    keys_poll_seconds: Seconds = 2.0
    """Between looks whether that file is another."""

    ingest_host: str = "::"
    """Every address, of IPv4 too, for records, questions of relays and credit."""
    ingest_port: Port = INGEST_PORT
    """0 takes a free port, named in the log line `listening`; for tests."""
    admin_host: str = "::"
    """As ingest_host, for probes and metrics."""
    admin_port: Port = 8091
    """0 takes a free port; for tests."""
    body_seconds: Seconds = 10.0
    """From a batch's head to its last byte."""
    max_batches: Count = 64
    """Batches in hand at a time; more are refused with 503, and come again."""
    max_connections: Count = 4096
    """Of each port at a time, and at most half of the files that the process may open beside its own 64. Beyond them the address that has most gives one up."""
    connections_per_address: Count = 512
    """Beyond them an address gives up the one that waits for longest; behind one may be all relay pods of a node. Half of the port's where files bound that."""
    drain_seconds: Seconds = 20.0
    """From SIGTERM to the exit at the latest."""

    lease_seconds: Annotated[int, Field(ge=2, le=3600)] = LEASE_SECONDS
    """What a relay pod has leased of a budget and not spent comes back so long after its last word."""

    past_days: Annotated[int, Field(ge=1, le=366)] = 35
    """Records of older attempts are kept apart: their months may be closed."""
    future_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Records of attempts that are to be sent later than this are kept apart: a clock is wrong."""
    open_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 6 * 3600
    """An attempt of which nobody has heard for so long after it was sent is closed by the ledger; more than the longest stream takes."""
    upkeep_seconds: Seconds = 15.0
    """Between looks for what is overdue, and the numbers of the metrics."""
    audit_hours: Annotated[int, Field(ge=1, le=30 * 24)] = 24
    """Between audits of the days that records may still come for (past_days)."""
    reports: tuple[ReportSource, ...] = ()
    """Providers that are compared with their own reports each report_hours, as a JSON list. None by default: nothing is asked of anybody."""
    report_hours: Annotated[int, Field(ge=1, le=31 * 24)] = 24
    """Between comparisons of a provider; what failed is tried again every hour."""
    report_mebibytes: Annotated[int, Field(ge=96, le=64 * 1024)] = 192
    """Memory that one comparison may take beside what serves; its program takes 65 before it reads anything."""
    grace_hours: Annotated[int, Field(ge=1, le=35 * 24)] = 72
    """A period that is over waits so long for late records; then its statement is made final."""
    kept_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """Whole months older than this go; their sums stay."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The least important lines that are written."""

    @model_validator(mode="after")
    def _keeps_what_it_takes(self) -> Self:
        # a record may be known as repeated only while its month is there
        if self.kept_days < self.past_days + LONGEST_MONTH_DAYS:
            raise ValueError(
                f"RELAY_LEDGER_KEPT_DAYS is {self.kept_days}; it has to be RELAY_LEDGER_PAST_DAYS and a month"
                f" ({self.past_days + LONGEST_MONTH_DAYS}) at least, or what comes again would be booked again"
            )
        return self
