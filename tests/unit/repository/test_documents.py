"""Files of the repository that people read first: complete, and true about paths and commands."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.pages import blocks

from relay_contract import endpoints
from relay_operator import names
from relay_operator.handlers import secret_watch
from relay_operator.process import life

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
MENTIONED_ROOTS = (
    "operator/",
    "tests/",
    "docs/",
    "charts/",
    "crds/",
    "bench/",
    "examples/",
    ".ci/",
)


def test_the_license_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_image_is_built_with_every_file_that_the_wheel_wants() -> None:
    dockerfile = (ROOT / "operator" / "Dockerfile").read_text()
    kept = (ROOT / "operator" / "Dockerfile.dockerignore").read_text().splitlines()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", dockerfile, re.MULTILINE), name
        assert f"!{name}" in kept


@pytest.mark.parametrize("page", sorted({*DOCUMENTS, *blocks.pages()}))
def test_every_link_leads_to_a_page_and_a_heading(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    absent = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in path:
            continue
        found = (ROOT / page).parent / path if path else ROOT / page
        if not found.exists() or (heading and heading not in headings(found)):
            absent.append(target)
    assert absent == []


def headings(page: Path) -> set[str]:
    """Returns what the headings of a page are linked by, as GitHub makes it."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_index_of_the_pages_names_each_of_them() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {path.partition("#")[0] for path in re.findall(r"\]\(([^)]+)\)", index)}
    pages = {
        str(page.relative_to(ROOT / "docs"))
        for page in (ROOT / "docs").rglob("*.md")
        if not page.is_relative_to(ROOT / "docs" / "adr")
        and not page.is_relative_to(ROOT / "docs" / "results")
        and not page.is_relative_to(ROOT / "docs" / "runbooks")
    }
    assert pages - linked == {"README.md"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    words = [word for code in re.findall(r"`([^`]+)`", text) for word in code.split()]
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = [word.strip("\"',;") for word in words if word.startswith(MENTIONED_ROOTS)] + linked
    absent = [path for path in paths if not list(ROOT.glob(path.rstrip("/").partition("::")[0]))]
    assert absent == []


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *blocks.pages()}))
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / document).read_text()
    named = re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)
    assert [name for name in named if name not in targets] == []


def test_every_benchmark_that_a_page_names_exists() -> None:
    made = (ROOT / "Makefile").read_text()
    [told] = re.findall(r"^bench:.*ONLY=(.*) for one$", made, re.MULTILINE)
    known = set(re.split(r", | or ", told))
    named = {
        (page, name)
        for page in {*DOCUMENTS, *blocks.pages()}
        for name in re.findall(r"make bench ONLY=(\w+)", (ROOT / page).read_text())
    }
    assert {one for one in named if one[1] not in known} == set()


def test_pre_commit_does_what_make_check_does_and_fetches_nothing() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    hooks = " ".join(hook["entry"] for hook in local["hooks"])
    command = ["make", "--no-print-directory", "-C", str(ROOT), "--dry-run", "check"]
    checks = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tools = re.findall(r"\.venv/bin/((?:ruff )?[a-z-]+)(?= |$)", checks, re.MULTILINE)
    tools = [tool for tool in tools if tool != "python"]
    assert len(tools) == 4
    assert [tool for tool in tools if f".venv/bin/{tool}" not in hooks] == []


def scrape_jobs() -> dict[str, dict[str, Any]]:
    """Returns the scrape jobs that people are told to add, by name."""
    (block,) = re.findall(
        r"^```yaml\n(scrape_configs:.*?)^```",
        (ROOT / "docs/how-to/prometheus.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    return {job["job_name"]: job for job in yaml.safe_load(block)["scrape_configs"]}


def ledger_job() -> dict[str, Any]:
    """Returns the job that the page gives for the ledger."""
    text = (ROOT / "docs/how-to/prometheus.md").read_text()
    (block,) = re.findall(
        r"^  ```yaml\n(  - job_name: relay-ledger\n.*?)^  ```", text, re.DOTALL | re.MULTILINE
    )
    (job,) = yaml.safe_load(block)
    found: dict[str, Any] = job
    return found


def test_the_example_of_a_prometheus_has_the_jobs_of_the_page() -> None:
    text = (ROOT / "examples/14-prometheus/prometheus.yaml").read_text()
    [configuration] = [one for one in yaml.safe_load_all(text) if one["kind"] == "ConfigMap"]
    jobs = yaml.safe_load(configuration["data"]["prometheus.yml"])["scrape_configs"]
    assert {job["job_name"]: job for job in jobs} == scrape_jobs() | {"relay-ledger": ledger_job()}


def test_the_prometheus_of_the_demonstration_scrapes_what_the_example_does() -> None:
    jobs: list[set[str]] = []
    for name in ("examples/14-prometheus/prometheus.yaml", "tests/demo/manifests/prometheus.yaml"):
        bodies = yaml.safe_load_all((ROOT / name).read_text())
        [data] = [one["data"] for one in bodies if one["kind"] == "ConfigMap"]
        scraped = yaml.safe_load(data["prometheus.yml"])["scrape_configs"]
        jobs.append({job["job_name"] for job in scraped})
    assert jobs[0] == jobs[1]


def test_the_scrape_jobs_of_the_page_fit_the_operator_and_the_charts_defaults() -> None:
    values = yaml.safe_load((ROOT / "charts/relay-operator/values.yaml").read_text())
    jobs = scrape_jobs()
    host = f"relay-operator.relay-system.svc:{names.OPERATOR_PORT}"
    assert jobs["relays-slo"]["scrape_interval"] == f"{values['prometheus']['scrapeSeconds']}s"
    found = {name: job["http_sd_configs"] for name, job in jobs.items() if "http_sd_configs" in job}
    assert {name: [one["url"] for one in sd] for name, sd in found.items()} == {
        "relays-slo": [f"http://{host}{names.SLO_DISCOVERY_PATH}"],
        "relays": [f"http://{host}{names.DISCOVERY_PATH}"],
    }
    # Prometheus would ask once a minute
    assert all("refresh_interval" in one for sd in found.values() for one in sd)
    # Prometheus scrapes /metrics unless told otherwise
    assert endpoints.METRICS_PATH == "/metrics"
    # of each pod: only the leader has the series of tenants and routes
    [pods] = jobs["relay-operator"]["dns_sd_configs"]
    assert pods["names"] == ["relay-operator-pods.relay-system.svc"]
    assert (pods["type"], pods["port"]) == ("A", names.OPERATOR_PORT)


@pytest.mark.parametrize(
    "page", ["docs/how-to/upgrade.md", "charts/relay-operator/templates/NOTES.txt"]
)
def test_crds_are_upgraded_although_helm_owns_their_fields(page: str) -> None:
    commands = re.findall(r"kubectl apply.* -f crds/", (ROOT / page).read_text())
    assert commands == ["kubectl apply --server-side --force-conflicts -f crds/"]


@pytest.mark.parametrize(
    "page",
    ["README.md", "Makefile", "docs/embedded-cluster.md", "tests/cluster/build/go_build.py"],
)
def test_one_build_time_of_the_cluster_is_told_everywhere(page: str) -> None:
    told = re.findall(r"\d+ minutes", (ROOT / page).read_text())
    assert told == ["13 minutes"]
    assert "8 to 13 minutes" in (ROOT / page).read_text()


def test_every_failure_of_the_architecture_page_names_what_shows_it() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("## When a part fails", 1)[1].split("\n## ", 1)[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]
    assert rows[0].endswith("| shown by |")
    assert len(rows) > 15
    silent = [row for row in rows[1:] if not re.search(r"(`tests/\S+`|no test)[^|]* \|$", row)]
    assert silent == []


@pytest.mark.parametrize("page", ["docs/tenancy.md", "docs/api-keys.md"])
def test_the_pages_name_every_secret_that_the_operator_watches_everywhere(page: str) -> None:
    sentences = re.split(r"(?<=[.:])\s", (ROOT / page).read_text())
    of_watches = [
        one for one in sentences if "watch" in one and f"`{names.API_KEYS_SECRET}`" in one
    ]
    assert of_watches
    told = {
        secret for secret in secret_watch.WATCHED if all(f"`{secret}`" in one for one in of_watches)
    }
    assert told == set(secret_watch.WATCHED)


def test_the_page_of_metrics_says_how_many_watches_there_are() -> None:
    # one by name of each of these Secrets, and one of those that are labelled for Providers
    of_secrets = len(secret_watch.WATCHED) + 1
    told = f"watches ({len(life.WATCHED) + of_secrets})"
    assert told in (ROOT / "docs" / "metrics.md").read_text()


def test_the_changelog_says_nothing_twice() -> None:
    entries = re.split(r"\n(?=- |#)", (ROOT / "CHANGELOG.md").read_text())
    begun = [entry[:60] for entry in entries if entry.startswith("- ")]
    assert len(begun) > 100
    assert sorted({one for one in begun if begun.count(one) > 1}) == []


def test_no_row_of_the_architecture_page_stands_there_twice() -> None:
    rows = re.findall(
        r"^\| (?!---).*\|$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    assert {row for row in rows if rows.count(row) > 1} - {"| concept | file | test |"} == set()


def test_no_blank_line_cuts_a_list_of_the_changelog() -> None:
    assert re.findall(r"\n(?:-|  )[^\n]*\n\n- [^\n]*", (ROOT / "CHANGELOG.md").read_text()) == []
