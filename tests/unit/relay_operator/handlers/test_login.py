"""kopf logs in with the kubeconfig outside a cluster, and not at all without one."""

from pathlib import Path

import kopf
import pytest
import yaml

from relay_operator.handlers import login

KUBECONFIG = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://api.example.com:6443"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def test_the_kubeconfig_is_used_outside_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    monkeypatch.setenv("KUBECONFIG", str(path))
    info = login.login(settings=kopf.OperatorSettings())
    assert info is not None
    assert (info.server, info.token) == ("https://api.example.com:6443", "t")


def test_without_any_credentials_there_is_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert login.login(settings=kopf.OperatorSettings()) is None


def test_ours_is_the_only_login() -> None:
    registry = kopf.OperatorRegistry()
    login.register(registry)
    assert [handler.id for handler in registry._activities.get_all_handlers()] == ["login"]
