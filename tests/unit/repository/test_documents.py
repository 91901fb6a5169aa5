"""Files of the repository that people read first: complete, and true about paths and commands."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    words = [word for code in re.findall(r"`([^`]+)`", text) for word in code.split()]
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = [word.strip("\"',;") for word in words if word.startswith(MENTIONED_ROOTS)] + linked
    absent = [path for path in paths if not list(ROOT.glob(path.rstrip("/").partition("::")[0]))]
    assert absent == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / document).read_text()
    named = re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)
    assert [name for name in named if name not in targets] == []


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
