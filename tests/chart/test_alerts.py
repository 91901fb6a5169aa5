"""The alerting rules, by promtool: valid, firing when they should and not otherwise, and told in words with a place to read on."""

import functools
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.alert_cases import CASES, Case, Series
from tests.chart.rendering import CHART, helm, rendered
from tests.cluster.images import debian
from tests.ecosystem import rule_admission

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "alerts.md").read_text()
RUNBOOKS = ROOT / "docs" / "runbooks"
ENABLED = "alerts.enabled=true"
AS_FILE = "alerts.as=ConfigMap"
FILE = "relay-operator.rules.yaml"
LONG_MINUTES = 100
"""Scenes of days are longer, all others shorter."""
Look = tuple[int, str, list[dict[str, Any]]]
"""Minutes after the beginning, an alert, and the alerts of that name that are to fire then."""


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The promtool beside the Prometheus of the cluster's image."""
    folder = tmp_path_factory.mktemp("promtool")
    with tarfile.open(debian.prometheus_layer().path) as layer:
        layer.extract("usr/bin/promtool", folder, filter="data")
    return folder / "usr/bin/promtool"


@functools.cache
def rules_text(*values: str) -> str:
    """Returns the rules as the ConfigMap has them for any Prometheus."""
    made = rendered(ENABLED, AS_FILE, *values)
    [found] = [str(one["data"][FILE]) for one in made if FILE in one.get("data", {})]
    return found


def rules_file(*values: str) -> dict[str, Any]:
    groups: dict[str, Any] = yaml.load(rules_text(*values), Loader=yaml.CSafeLoader)
    return groups


@functools.cache
def rules() -> dict[str, dict[str, Any]]:
    """Returns every rule by the name of its alert."""
    return {rule["alert"]: rule for group in rules_file()["groups"] for rule in group["rules"]}


def checked(promtool: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(promtool), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def filled(text: str, labels: dict[str, str], value: str) -> str:
    """Fills an annotation as Prometheus does."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels.get(found[1], ""), text)
    return re.sub(r"{{ \$value( \| \w+)? }}", value, text)


def expected(case: Case) -> dict[str, Any]:
    annotations = {
        name: filled(text, case.labels, case.value)
        for name, text in rules()[case.alert]["annotations"].items()
    }
    return {
        "exp_labels": {"severity": case.severity, **case.labels},
        "exp_annotations": annotations,
    }


def scene(series: Series, looks: list[Look]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": alerts}
            for minutes, alert, alerts in looks
        ],
    }


def findings(promtool: Path, folder: Path, scenes: list[dict[str, Any]], *values: str) -> str:
    """Runs the scenes; returns what promtool finds wrong, nothing if all is as expected."""
    return found_with(promtool, folder, rules_text(*values), scenes)


def found_with(
    promtool: Path, folder: Path, text: str, scenes: list[dict[str, Any]], *, every: str = "1m"
) -> str:
    """Runs the scenes with these rules, evaluated so often."""
    (folder / FILE).write_text(text)
    page = {"rule_files": [FILE], "evaluation_interval": every, "tests": scenes}
    (folder / "tests.yaml").write_text(yaml.safe_dump(page))
    done = checked(promtool, "test", "rules", "tests.yaml", cwd=folder)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def played(promtool: Path, folder: Path, case: Case, series: Series, looks: list[Look]) -> str:
    """Plays the scene of a case with all rules; returns what promtool finds wrong.

    In a scene of days the alert's own rule is evaluated each minute. The others, which have to get along with its series, are evaluated
    once an hour, since all of them each minute take a hundred times as long.
    """
    if case.minutes <= LONG_MINUTES:
        return findings(promtool, folder, [scene(series, looks)])
    own = {"groups": [{"name": "own", "rules": [rules()[case.alert]]}]}
    until = {"expr": "vector(1)", "eval_time": f"{case.minutes}m"}
    to_its_end = [until | {"exp_samples": [{"labels": "{}", "value": 1}]}]
    others = scene(series, []) | {"promql_expr_test": to_its_end}
    return found_with(promtool, folder, yaml.safe_dump(own), [scene(series, looks)]) + found_with(
        promtool, folder, rules_text(), [others], every="1h"
    )


def case_name(case: Case) -> str:
    return f"{case.alert}-{case.minutes}m"


@pytest.mark.parametrize("values", [(), ("alerts.labels.team=platform", "alerts.annotations.a=b")])
def test_the_rules_are_valid(promtool: Path, tmp_path: Path, values: tuple[str, ...]) -> None:
    (tmp_path / FILE).write_text(rules_text(*values))
    done = checked(promtool, "check", "rules", "--lint=all", "--lint-fatal", FILE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ((), 180_000),
        # values of a release that had no audits, or no ledger
        (("alerts.thresholds.auditOverdueSeconds=null",), 180_000),
        (("ledger=null",), 180_000),
        (("alerts.thresholds.auditOverdueSeconds=400000",), 400_000),
        (("ledger.auditHours=720",), 1442 * 3600),
        (("ledger.auditHours=720", "alerts.thresholds.auditOverdueSeconds=7200"), 1442 * 3600),
        (("ledger.auditHours=1", "alerts.thresholds.auditOverdueSeconds=7200"), 4 * 3600),
    ],
)
def test_an_audit_is_overdue_after_two_of_them_at_the_earliest(
    values: tuple[str, ...], seconds: int
) -> None:
    listed = (rule for group in rules_file(*values)["groups"] for rule in group["rules"])
    [rule] = [one for one in listed if one["alert"] == "RelayLedgerAuditOverdue"]
    assert rule["expr"].endswith(f" > {seconds}")


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_an_alert_fires_and_says_what_and_where(promtool: Path, tmp_path: Path, case: Case) -> None:
    looks = [(case.minutes, case.alert, [expected(case)])]
    if case.not_before:
        looks.append((case.not_before, case.alert, []))
    assert played(promtool, tmp_path, case, case.fires, looks) == ""


@pytest.mark.parametrize(
    ("case", "what"),
    [(case, what) for case in CASES for what in case.quiet],
    ids=lambda part: part if isinstance(part, str) else case_name(part),
)
def test_an_alert_stays_quiet(promtool: Path, tmp_path: Path, case: Case, what: str) -> None:
    looks: list[Look] = [(at, case.alert, []) for at in {case.not_before + 1, case.minutes}]
    assert played(promtool, tmp_path, case, case.quiet[what], looks) == ""


def test_every_alert_has_a_scene_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert {case.alert for case in CASES if case.quiet} == rules().keys()


def test_every_alert_has_a_runbook_that_its_runbook_url_names_and_every_runbook_an_alert() -> None:
    urls = {name: rule["annotations"]["runbook_url"] for name, rule in rules().items()}
    assert urls == {name: f"docs/runbooks/{name}.md" for name in rules()}
    assert {path.name for path in RUNBOOKS.iterdir()} == {f"{name}.md" for name in rules()}


def test_the_page_of_alerts_lists_each_with_its_severity_in_the_order_of_the_rules() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| \S.+ \|$", PAGE, re.MULTILINE
    )
    wanted = [(name, name, rule["labels"]["severity"]) for name, rule in rules().items()]
    assert listed == wanted


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.iterdir()), ids=lambda path: path.stem)
def test_a_runbook_says_what_is_who_is_affected_how_to_find_out_and_what_to_do(
    runbook: Path,
) -> None:
    text = runbook.read_text()
    assert text.startswith(f"# {runbook.stem}\n\n")
    parts = ("**Who is affected.** ", "## Find the cause", "## What to do", "**Resolved when.** ")
    places = [text.find(part) for part in parts]
    assert places == sorted(places)
    assert places[0] > 0
    find = text[places[1] : places[2]]
    assert re.search(r"^```(sh|promql)$", find, re.MULTILINE)


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.iterdir()), ids=lambda path: path.stem)
def test_a_runbook_takes_from_the_labels_of_its_alert_what_these_have(runbook: Path) -> None:
    text = runbook.read_text()
    labels = {name for case in CASES if case.alert == runbook.stem for name in case.labels}
    if "namespace" in labels and "a Tenant's namespace is `relay-` and its name" in text:
        labels.add("tenant")
    taken = set(re.findall(r'="(NAMESPACE|ROUTE|TENANT)"', text))
    if "from the alert's labels" in text:
        [variables] = re.findall(r"<!-- yours: (.+) -->", text)
        taken |= set(variables.split())
    assert {name.lower() for name in taken} <= labels


def test_the_pages_name_every_scrape_job_that_the_rules_read() -> None:
    read = {name: set(re.findall(r'job="([^"]+)"', rule["expr"])) for name, rule in rules().items()}
    assert {job for jobs in read.values() for job in jobs if f"`{job}`" not in PAGE} == set()
    of_the_ledger = {name for name, jobs in read.items() if "relay-ledger" in jobs}
    page = (ROOT / "docs" / "how-to" / "prometheus.md").read_text()
    assert of_the_ledger
    assert {name for name in of_the_ledger if f"`{name}`" not in page} == set()


def test_every_alert_tells_what_is_and_what_to_do() -> None:
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), name
        assert len(rule["annotations"]["summary"]) < 170, name
        # a command to type, a condition or a metric to look at
        assert re.search(r"kubectl|condition|relay_\w+", rule["annotations"]["description"]), name


def test_the_prometheus_rule_has_the_same_groups_as_the_file() -> None:
    [found] = [one for one in rendered(ENABLED) if one["kind"] == "PrometheusRule"]
    assert found["apiVersion"] == "monitoring.coreos.com/v1"
    assert found["spec"] == rules_file()


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rule_admission.Judge]:
    with rule_admission.running(tmp_path_factory.mktemp("admission") / "log") as found:
        yield found


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("ledger.enabled=true",),
        ("prometheus.labels.namespace=k8s_namespace", "prometheus.labels.pod=k8s_pod"),
        ("alerts.labels.team=platform", "alerts.annotations.dashboard=relays"),
    ],
)
def test_the_admission_webhook_of_the_prometheus_operator_lets_the_rules_in(
    judge: rule_admission.Judge, values: tuple[str, ...]
) -> None:
    [found] = [one for one in rendered(ENABLED, *values) if one["kind"] == "PrometheusRule"]
    assert judge(found) == []


def test_the_webhook_refuses_what_prometheus_cannot_evaluate(judge: rule_admission.Judge) -> None:
    """Shows that it looks."""
    [found] = [one for one in rendered(ENABLED) if one["kind"] == "PrometheusRule"]
    found["spec"]["groups"][0]["rules"][0]["expr"] = "max by (namespace"
    assert "could not parse expression" in "".join(judge(found))


def test_without_being_asked_for_there_is_neither() -> None:
    kinds = ("PrometheusRule", "ConfigMap")
    found = [one["metadata"]["name"] for one in rendered() if one["kind"] in kinds]
    assert found == ["relay-operator-tiers"]


def test_labels_annotations_and_the_namespace_are_the_users() -> None:
    values = (
        "alerts.labels.team=platform",
        "alerts.annotations.dashboard=relays",
        "alerts.runbookUrl=https://runbooks.example/relays",
    )
    for group in rules_file(*values)["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["team"] == "platform"
            assert rule["annotations"]["dashboard"] == "relays"
            url = f"https://runbooks.example/relays/{rule['alert']}.md"
            assert rule["annotations"]["runbook_url"] == url
    placed = (
        "alerts.namespace=monitoring",
        "alerts.objectLabels.release=stack",
        "alerts.objectLabels.app\\.kubernetes\\.io/name=rules",
    )
    [made] = [one for one in rendered(ENABLED, *placed) if one["kind"] == "PrometheusRule"]
    assert made["metadata"]["namespace"] == "monitoring"
    assert made["metadata"]["labels"]["release"] == "stack"
    assert made["metadata"]["labels"]["app.kubernetes.io/name"] == "rules"


def test_a_threshold_moves_its_alert(promtool: Path, tmp_path: Path) -> None:
    [case] = [one for one in CASES if one.alert == "RelayErrors"]
    quiet = [scene(case.fires, [(case.minutes, case.alert, [])])]
    assert findings(promtool, tmp_path, quiet) != ""
    assert findings(promtool, tmp_path, quiet, "alerts.thresholds.errorPercent=3") == ""


def test_names_of_jobs_and_labels_that_differ_are_read(promtool: Path, tmp_path: Path) -> None:
    [case] = [one for one in CASES if one.alert == "RelayErrors"]
    renamed = {
        name.replace('job="relays"', 'service="gateways"').replace("namespace=", "ns="): values
        for name, values in case.fires.items()
    }
    values = (
        "prometheus.labels.job=service",
        "prometheus.labels.namespace=ns",
        "alerts.jobs.relays=gateways",
    )
    quiet = [scene(renamed, [(case.minutes, case.alert, [])])]
    found = findings(promtool, tmp_path, quiet, *values)
    assert 'ns="relay-finance", severity="critical"' in found


@pytest.mark.parametrize(
    "value",
    [
        "alerts.as=File",
        "alerts.thresholds.errorPercent=100",
        "alerts.thresholds.serviceFor=soon",
        "alerts.thresholds.unknown=1",
        "alerts.jobs.relays=",
    ],
)
def test_a_value_that_no_rule_can_use_is_refused(value: str) -> None:
    assert helm("template", "x", str(CHART), "--set", value).returncode != 0
