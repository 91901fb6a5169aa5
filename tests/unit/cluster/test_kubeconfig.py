"""A kubeconfig is merged into the user's file and removed from it without a trace."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster import kubeconfig
from tests.cluster.errors import ClusterError

names = st.sampled_from(["kind-a", "kind-b", "prod", "stage"])


def entry(name: str, server: str = "https://192.0.2.1") -> kubeconfig.Config:
    return {
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"token": "t"}}],
        "current-context": name,
    }


def config_of(entries: list[str]) -> kubeconfig.Config:
    config: kubeconfig.Config = {"extensions": [{"name": "kept"}]}
    for name in entries:
        config = kubeconfig.merged(config, entry(name))
    return config


def test_an_empty_file_becomes_a_complete_kubeconfig() -> None:
    made = kubeconfig.merged({}, entry("kind-a"))
    assert made["apiVersion"] == "v1"
    assert made["kind"] == "Config"
    assert made["current-context"] == "kind-a"


def test_other_entries_and_unknown_fields_stay() -> None:
    made = kubeconfig.merged(config_of(["prod"]), entry("kind-a"))
    assert [e["name"] for e in made["clusters"]] == ["prod", "kind-a"]
    assert made["extensions"] == [{"name": "kept"}]


def test_an_entry_of_the_same_name_is_replaced() -> None:
    made = kubeconfig.merged(config_of(["kind-a", "prod"]), entry("kind-a", "https://192.0.2.9"))
    servers = {e["name"]: e["cluster"]["server"] for e in made["clusters"]}
    assert servers == {"prod": "https://192.0.2.1", "kind-a": "https://192.0.2.9"}


def test_null_sections_count_as_empty() -> None:
    empty: dict[str, Any] = {"clusters": None, "contexts": None, "users": None}
    assert len(kubeconfig.merged(empty, entry("kind-a"))["clusters"]) == 1
    assert kubeconfig.without(empty, "kind-a")["users"] == []


@given(st.lists(names, max_size=4, unique=True), names)
def test_removing_a_merged_entry_restores_the_file(before: list[str], added: str) -> None:
    old = config_of([name for name in before if name != added])
    after = kubeconfig.without(kubeconfig.merged(old, entry(added)), added)
    for section in kubeconfig.SECTIONS:
        assert after[section] == old.get(section, [])
    assert after["current-context"] == ""


def test_a_foreign_current_context_survives_a_removal() -> None:
    config = config_of(["kind-a", "prod"])
    assert kubeconfig.without(config, "kind-a")["current-context"] == "prod"


@pytest.mark.parametrize(
    ("explicit", "variable", "expected"),
    [
        ("/x", "/a:/b", ["/x"]),
        (None, "/a:/b", ["/a", "/b"]),
        (None, ":/a::/a:", ["/a"]),
        (None, "", ["/home/me/.kube/config"]),
    ],
)
def test_files_are_searched_where_kubectl_searches(
    explicit: str | None, variable: str, expected: list[str]
) -> None:
    found = kubeconfig.candidates(explicit, {"KUBECONFIG": variable}, Path("/home/me"))
    assert [str(path) for path in found] == expected


def test_a_new_entry_goes_to_the_first_file_that_exists_else_to_the_last(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert kubeconfig.destination([first, second]) == second
    first.touch()
    assert kubeconfig.destination([first, second]) == first


def test_files_are_private_and_links_stay_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("")
    real.chmod(0o644)
    link.symlink_to(real)
    kubeconfig.add_entry(link, entry("kind-a"))
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert yaml.safe_load(real.read_text())["current-context"] == "kind-a"


def test_no_lock_and_no_partial_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    kubeconfig.add_entry(path, entry("kind-a"))
    kubeconfig.remove_entry([path, tmp_path / "absent"], "kind-a")
    assert os.listdir(path.parent) == ["config"]
    assert not kubeconfig.names(kubeconfig.read(path), "kind-a")


def test_a_file_that_does_not_name_the_cluster_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("# mine\n" + json.dumps(config_of(["prod"])))
    before = path.read_bytes()
    kubeconfig.remove_entry([path], "kind-a")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["{unbalanced", "- a list\n", "just words"])
def test_a_malformed_kubeconfig_is_refused_and_left_unchanged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ClusterError, match="not a kubeconfig"):
        kubeconfig.add_entry(path, entry("kind-a"))
    assert path.read_text() == content
    assert os.listdir(tmp_path) == ["config"]
