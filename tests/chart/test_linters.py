"""The chart is clean under kubeconform, checkov and kube-score, and its README is what helm-docs makes of values.yaml.

What a linter is to leave alone stands in the templates, as an annotation beside the reason.
"""

from pathlib import Path

import pytest
import yaml
from tests.chart.linters import installed, programs
from tests.chart.rendering import CHART, flags, template

EVERYTHING = (
    "podMonitors.enabled=true",
    "alerts.enabled=true",
    "crds.upgradeJob.enabled=true",
    "image.pullSecrets[0]=registry",
    "prometheus.url=https://prometheus.test",
    "prometheus.tls.secretName=metrics-tls",
    "prometheus.auth.type=bearer",
    "prometheus.auth.secretName=metrics",
    "webhook.url=https://receiver.test/hook",
    "webhook.secretName=hook",
    "ledger.enabled=true",
    "ledger.database.secretName=ledger-dsn",
    "ledger.reports.sources[0].provider=openai",
    "ledger.reports.sources[0].dialect=openai",
    "ledger.reports.sources[0].secretName=openai-admin",
    "ledger.payments.from[0].ipBlock.cidr=192.0.2.7/32",
    "operator.shards[0].name=eu",
    "operator.shards[0].tenantSelector=region=eu",
)
"""Values with which the chart makes all that it can make."""
SETS = {"default": (), "ledger": ("ledger.enabled=true",), "everything": EVERYTHING}


@pytest.fixture(scope="module", params=["default", "ledger", "everything"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a file with what the chart makes."""
    return written(request.param, tmp_path_factory.mktemp("rendered"))


def written(name: str, folder: Path) -> Path:
    """Writes what the chart makes with the values of this name."""
    done = template(*flags(SETS[name]))
    assert done.returncode == 0, done.stderr
    file = folder / f"{name}.yaml"
    file.write_text(done.stdout)
    return file


@pytest.mark.parametrize("version", installed.VERSIONS)
def test_every_object_fits_the_schemas_of_kubernetes(tmp_path: Path, version: str) -> None:
    """Looks at all files at once, since most of a look is reading the schemas."""
    files = [written(name, tmp_path) for name in SETS]
    assert programs.kubeconform(version, *files) == {file: [] for file in files}


def test_checkov_finds_what_was_put_there_and_nothing_in_the_chart(tmp_path: Path) -> None:
    """Looks at all files at once, since most of a look is checkov's start."""
    files = {name: written(name, tmp_path) for name in SETS}
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WRONG)
    found = programs.checkov(*files.values(), wrong)
    assert {name: found[file] for name, file in files.items()} == {name: [] for name in SETS}
    assert "CKV_K8S_16" in "".join(found[wrong])


def test_kube_score_finds_nothing(manifests: Path) -> None:
    assert programs.kube_score(manifests) == []


def test_a_policy_limits_who_reaches_each_pod(manifests: Path) -> None:
    """Looks at what kube-score is told to leave alone, since it has one check for both directions."""
    objects = [one for one in yaml.safe_load_all(manifests.read_text()) if one]
    chosen = [
        one["spec"]["podSelector"]["matchLabels"].items()
        for one in objects
        if one["kind"] == "NetworkPolicy" and "Ingress" in one["spec"]["policyTypes"]
    ]
    pods = [
        (one if one["kind"] == "Pod" else one["spec"]["template"])["metadata"]["labels"]
        for one in objects
        if one["kind"] in ("Deployment", "Job", "Pod")
    ]
    assert pods
    for labels in pods:
        assert any(selector <= labels.items() for selector in chosen), labels


def test_what_does_not_fit_is_found(tmp_path: Path) -> None:
    """Shows that the linters look: each finds what was put there to be found."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WRONG)
    assert "unknownField" in "".join(programs.kubeconform("1.36.0", wrong)[wrong])
    assert "container-security-context-privileged" in "".join(programs.kube_score(wrong))


WRONG = """
apiVersion: v1
kind: Pod
metadata: {name: wrong, namespace: other, unknownField: 1}
spec:
  containers:
  - {name: it, image: "it:latest", securityContext: {privileged: true}}
"""


def test_the_readme_is_what_helm_docs_makes() -> None:
    assert (CHART / "README.md").read_text() == programs.helm_docs(CHART), "run make chart-readme"
