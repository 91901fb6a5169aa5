"""No setting that is a number takes one beyond all reason: a process says so at its start, instead of failing later or never waking."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

import relay.settings
import relay_ledger.settings
import relay_operator.settings

ALL: dict[str, type[BaseSettings]] = {
    "operator": relay_operator.settings.Settings,
    "relay": relay.settings.Settings,
    "ledger": relay_ledger.settings.Settings,
}


def numbers() -> Iterator[tuple[str, str]]:
    """Yields process and name of each setting that is a number."""
    for process, settings in ALL.items():
        for name, field in settings.model_fields.items():
            if field.annotation in (int, float, int | None):
                yield process, name


def refused(process: str, name: str, value: Any) -> bool:
    """Tells whether this very value is refused."""
    settings = ALL[process]
    field = settings.model_fields[name]
    key = str(field.validation_alias or name)
    try:
        settings.model_validate({key: value})
    except ValidationError as error:
        return any(key in one["loc"] for one in error.errors())
    return False


@pytest.mark.parametrize(("process", "name"), list(numbers()))
def test_a_number_beyond_all_reason_is_refused_at_the_start(process: str, name: str) -> None:
    assert refused(process, name, 2**60)
    assert refused(process, name, -1)


@pytest.mark.parametrize(("process", "name"), [one for one in numbers() if one[1].endswith("port")])
def test_a_port_that_no_host_has_is_refused_at_the_start(process: str, name: str) -> None:
    assert refused(process, name, 99_999)
    assert not refused(process, name, 8090)
