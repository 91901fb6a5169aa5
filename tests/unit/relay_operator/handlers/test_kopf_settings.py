"""kopf's settings are pinned: each default that was changed had bitten somebody."""

import itertools
from collections.abc import Iterable

import kopf
import pytest

from relay_operator.handlers import owned_objects
from relay_operator.handlers.kopf_settings import configure


@pytest.fixture
def settings() -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    configure(made)
    return made


def test_watches_notice_silence_and_lists_come_in_chunks(settings: kopf.OperatorSettings) -> None:
    watching = settings.watching
    assert (watching.server_timeout, watching.client_timeout, watching.connect_timeout) == (300, 310, 5)  # fmt: skip
    assert watching.inactivity_timeout == 70
    assert watching.chunk_size == 100
    assert not watching.initial_streaming


def test_foreign_objects_never_enter_the_process(settings: kopf.OperatorSettings) -> None:
    selectors = settings.watching.label_selectors
    assert owned_objects.watched()
    for plural in owned_objects.watched():
        assert selectors[plural] == "app.kubernetes.io/managed-by=relay-operator"


def test_errors_and_slow_answers_hold_up_an_object_for_seconds(
    settings: kopf.OperatorSettings,
) -> None:
    assert settings.networking.request_timeout == 10
    assert settings.queueing.error_delays == [1, 2, 5, 10, 30]
    assert settings.execution.default_backoff == 1
    assert settings.persistence.consistency_timeout == 0.5


def test_kopf_does_not_end_the_operator_while_the_api_server_answers_with_errors(
    settings: kopf.OperatorSettings,
) -> None:
    backoffs = settings.networking.error_backoffs
    assert isinstance(backoffs, Iterable)
    # each request goes through them from the beginning
    for _ in range(2):
        first = list(itertools.islice(backoffs, 10_000))
        assert first[:5] == [0.2, 0.5, 1, 2, 5]
        assert set(first[5:]) == {5}


def test_no_limit_of_workers_and_none_that_idles_long(settings: kopf.OperatorSettings) -> None:
    assert settings.queueing.worker_limit is None
    assert settings.queueing.idle_timeout == 1.0
    assert settings.queueing.exit_timeout == 1.0


def test_deletion_and_exit_wait_for_no_timer_of_kopfs(settings: kopf.OperatorSettings) -> None:
    assert settings.background.cancellation_polling == 1
    # a process whose watches failed goes on with another life
    assert settings.process.ultimate_exiting_timeout is None


def test_kopf_writes_nothing_and_under_no_name_of_its_own(
    settings: kopf.OperatorSettings,
) -> None:
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    assert settings.admission.managed is None
    assert settings.persistence.finalizer == "relay-operator.dev/kopf"
    for storage in (settings.persistence.progress_storage, settings.persistence.diffbase_storage):
        assert isinstance(
            storage, kopf.AnnotationsProgressStorage | kopf.AnnotationsDiffBaseStorage
        )
        assert storage.prefix == "relay-operator.dev"
