"""kopf logs in with the kubeconfig outside a cluster, once with the same credentials, and not at all without any."""

from pathlib import Path

import kopf
import pytest
import yaml

from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.handlers.login import Login, credentials

KUBECONFIG = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://api.example.com:6443"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def write(path: Path, *, token: str = "t") -> None:
    users = [{"name": "u", "user": {"token": token}}]
    path.write_text(yaml.safe_dump(KUBECONFIG | {"users": users}))


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubeconfig"
    write(path)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.usefixtures("kubeconfig")
def test_the_kubeconfig_is_used_outside_a_cluster() -> None:
    info = credentials(settings=kopf.OperatorSettings())
    assert info is not None
    assert (info.server, info.token) == ("https://api.example.com:6443", "t")


def test_without_any_credentials_there_is_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert credentials(settings=kopf.OperatorSettings()) is None


async def test_credentials_that_were_refused_are_not_shown_again_and_new_ones_are(
    kubeconfig: Path,
) -> None:
    login, settings = Login(ApiTraffic()), kopf.OperatorSettings()
    first = await login.log_in(settings=settings)
    # kopf asks once more after a 401; with a new session for the same token it would ask for ever
    again = await login.log_in(settings=settings)
    write(kubeconfig, token="renewed")
    renewed = await login.log_in(settings=settings)
    assert again is None
    assert first is not None
    assert renewed is not None
    shown = [one.aiohttp_session.headers["Authorization"] for one in (first, renewed)]
    assert shown == ["Bearer t", "Bearer renewed"]
    for one in (first, renewed):
        await one.aiohttp_session.close()


def test_ours_is_the_only_login() -> None:
    registry = kopf.OperatorRegistry()
    Login(ApiTraffic()).register(registry)
    assert [handler.id for handler in registry._activities.get_all_handlers()] == ["login"]
