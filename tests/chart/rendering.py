"""Renders the chart with helm, once a process for equal arguments: a test changes copies of the chart alone."""

import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster.session import provider

CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "relay-operator"
Manifest = dict[str, Any]
Done = subprocess.CompletedProcess[str]


def helm(*arguments: str) -> Done:
    """Returns what helm did with these arguments; it runs again only where they name files other than the chart."""
    return helm_anew(*arguments) if any(map(_may_change, arguments)) else _once(*arguments)


def helm_anew(*arguments: str) -> Done:
    """Runs helm."""
    return subprocess.run([_program(), *arguments], capture_output=True, text=True, check=False)


_once = functools.cache(helm_anew)


def template(*flags: str, release: str = "relay-operator", space: str = "relay-system") -> Done:
    """Renders the chart for a release in a namespace."""
    return helm("template", release, str(CHART), "--namespace", space, *flags)


def rendered(*values: str) -> list[Manifest]:
    """Returns the objects that the chart makes with these values."""
    return manifests(template(*flags(values)))


def flags(values: Iterable[str], flag: str = "--set") -> list[str]:
    """Returns the arguments that set each of these values."""
    return [part for value in values for part in (flag, value)]


def manifests(done: Done) -> list[Manifest]:
    """Returns the objects that helm printed; they are the caller's to change."""
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if one]


def _may_change(argument: str) -> bool:
    path = Path(argument)
    return path.is_absolute() and path != CHART and path.exists()


@functools.cache
def _program() -> str:
    return str(provider.find().helm)
