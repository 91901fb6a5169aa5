"""Settings of the simulator process: flags, then environment (SIMULATOR_*), then defaults."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from tests.simulator.behaviour import Behaviour


class Settings(Behaviour, BaseSettings):
    """The process's own settings and, beside them, the behaviour it starts with."""

    model_config = SettingsConfigDict(
        env_prefix="SIMULATOR_",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_prog_name="python -m tests.simulator",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 9000
    """Port for calls; 0 lets the kernel choose (see the ready line)."""
    control_host: str = "0.0.0.0"
    control_port: Annotated[int, Field(ge=0, le=65535)] = 9001
    tls_cert: Path | None = None
    """PEM chain; with tls_key it makes the traffic port speak TLS."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """PEM authorities; with TLS it lets in only callers with a certificate of theirs."""
    allow_header_override: bool = False
    """If true, the request header x-simulate (a JSON object of behaviour fields) applies to its call."""
    recorded_requests: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Requests kept for GET /requests; 0 keeps none, for benchmarks."""
    journal: Path | None = None
    """File to which each call is added once it has ended, as a line of JSON; None keeps no journal."""
    seed: int | None = None
    """Makes the draws of errors, faults and latency repeatable; None is a fresh seed."""
    drain_seconds: Annotated[float, Field(ge=0)] = 10.0
    """How long SIGTERM waits for answers in flight."""

    def behaviour(self) -> Behaviour:
        """Returns the behaviour part of the settings."""
        return Behaviour.model_validate(self.model_dump(include=set(Behaviour.model_fields)))
