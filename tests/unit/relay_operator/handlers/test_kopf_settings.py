"""kopf's settings are pinned: each default that was changed had bitten somebody."""

import kopf

from relay_operator.handlers.kopf_settings import configure


def test_kopf_is_an_informer_that_notices_silence_and_writes_nothing() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.watching.server_timeout == 300
    assert settings.watching.client_timeout == 310
    assert settings.watching.connect_timeout == 5
    assert settings.watching.inactivity_timeout == 70
    assert settings.watching.chunk_size == 500
    assert settings.queueing.worker_limit is None
    assert settings.networking.error_backoffs == [0.2, 0.5, 1, 2, 5]
    assert settings.queueing.error_delays == [1, 2, 5, 10, 30]
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    for plural in ("pods", "configmaps", "services", "deployments", "networkpolicies"):
        assert (
            settings.watching.label_selectors[plural]
            == "app.kubernetes.io/managed-by=relay-operator"
        )
