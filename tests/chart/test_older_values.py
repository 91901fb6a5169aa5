"""An upgrade with --reuse-values, under which the values of the former release are the only ones: none of those that it lacks is needed."""

import functools
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, flags, helm, manifests, template
from tests.chart.test_chart import SCHEMA, operator
from tests.e2e.previous_chart import PREVIOUS

from relay_operator.settings import Settings

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
NOT_REUSED = {"Deployment/relay-operator": "has the former resources of its container"}
"""Lists what an upgrade from the earlier chart changes, and why."""
LEDGER_KEYS = "ledger.keys.secretName=ledger-keys"
"""Without it each rendering makes keys of its own."""
REPORTS = (
    "ledger.reports.sources[0].provider=openai",
    "ledger.reports.sources[0].dialect=openai",
    "ledger.reports.sources[0].secretName=admin",
)


def spared() -> Iterator[str]:
    """Yields the sections, and the values in those that are always there, that the schema lets a release be without."""
    for section, values in VALUES.items():
        if section not in SCHEMA["required"]:
            yield section
        else:
            needed = SCHEMA["properties"][section].get("required", ())
            yield from (f"{section}.{name}" for name in values if name not in needed)


def settings(environment: Mapping[str, str]) -> Settings:
    fields = {name.removeprefix("OPERATOR_").lower(): one for name, one in environment.items()}
    return Settings.model_validate(fields)


@functools.cache
def usual() -> Settings:
    return settings(operator()[0])


@pytest.mark.parametrize("value", list(spared()))
def test_without_a_value_that_an_older_release_did_not_have_the_operators_defaults_hold(
    value: str,
) -> None:
    environment, mounts = operator(f"{value}=null")
    assert settings(environment) == usual()
    assert mounts == {}


def on_values(
    values: Mapping[str, Any], folder: Path, *sets: str
) -> subprocess.CompletedProcess[str]:
    """Renders the chart as an upgrade does that reuses values."""
    reused = folder / "chart"
    shutil.copytree(CHART, reused, dirs_exist_ok=True)
    (reused / "values.yaml").write_text(yaml.safe_dump(values))
    named = ("template", "relay-operator", str(reused), "--namespace", "relay-system")
    return helm(*named, *flags(sets))


def earlier_values() -> dict[str, Any]:
    with tarfile.open(PREVIOUS) as chart:
        file = chart.extractfile("relay-operator/values.yaml")
        assert file is not None
        values: dict[str, Any] = yaml.safe_load(file)
        return values


def made(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in manifests(done)}


@pytest.mark.parametrize(
    "asked",
    [
        (),
        ("ledger.enabled=true", LEDGER_KEYS),
        ("ledger.enabled=true", LEDGER_KEYS, "ledger.database.secretName=dsn"),
        ("ledger.enabled=true", LEDGER_KEYS, *REPORTS),
        ("podMonitors.enabled=true",),
        ("dashboards.enabled=true",),
        ("crds.upgradeJob.enabled=true",),
        ("webhook.url=https://chat.example", "webhook.secretName=webhook"),
        ("prometheus.url=http://prometheus.test", "prometheus.tls.secretName=ca"),
    ],
)
def test_a_release_that_keeps_the_values_of_the_earlier_chart_has_what_a_new_one_has(
    asked: tuple[str, ...], tmp_path: Path
) -> None:
    now, reused = (made(on_values(one, tmp_path, *asked)) for one in (VALUES, earlier_values()))
    different = {name for name in now.keys() | reused.keys() if now.get(name) != reused.get(name)}
    assert different == NOT_REUSED.keys()


@pytest.mark.parametrize(
    "value", ["alerts", *(f"alerts.thresholds.{name}" for name in VALUES["alerts"]["thresholds"])]
)
def test_alerts_that_lack_a_value_say_how_to_get_it_or_have_a_default(
    value: str, tmp_path: Path
) -> None:
    values = json.loads(json.dumps(VALUES))
    *path, last = value.split(".")
    del functools.reduce(dict.__getitem__, path, values)[last]
    done = on_values(values, tmp_path, "alerts.enabled=true")
    if done.returncode == 0:
        assert done.stdout == template("--set", "alerts.enabled=true").stdout
    else:
        assert value in done.stderr
        assert "--reset-then-reuse-values" in done.stderr
