"""Holds the result of a command: a view for machines and its text for people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kubectl_relay.texts.screen import Screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """data is printed as JSON with -o json, text otherwise. exit_code is not 0 if something was found wrong."""

    data: Any
    text: Callable[[Screen], Iterator[str]]
    exit_code: int = 0
