"""kopf as informer only: its settings, all in one place (defaults are for small operators)."""

import itertools
from collections.abc import Iterator
from typing import Final

import kopf

from relay_operator import names
from relay_operator.handlers import owned_objects

_FIRST_BACKOFFS_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
_LATER_BACKOFF_SECONDS: Final = 5.0


class Backoffs:
    """Pauses of kopf after requests that failed, without an end: after the last one it would end the operator.

    An API server that starts, or whose etcd elects, answers 500 and 503 for a while; both operators would end at the same time.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(_FIRST_BACKOFFS_SECONDS, itertools.repeat(_LATER_BACKOFF_SECONDS))


def configure(settings: kopf.OperatorSettings) -> None:
    """Sets watches that notice silence and reconnect, lists in chunks, and no writes by kopf.

    Nothing of kopf's handlers that patch, of its timers or its Events is in use. Their settings are set all the same, so
    that whoever adds one is not deaf for a minute after its first error, and writes under no other name than ours.
    """
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 5
    # the API server sends a bookmark a minute
    settings.watching.inactivity_timeout = 70
    # all kinds are listed at the same time, a page of each in memory as JSON and as objects, and the largest moment stays with the process
    settings.watching.chunk_size = 100
    for plural in owned_objects.watched():
        settings.watching.label_selectors[plural] = names.MANAGED_SELECTOR
    settings.networking.request_timeout = 10
    settings.networking.error_backoffs = Backoffs()
    settings.queueing.error_delays = [1, 2, 5, 10, 30]
    settings.execution.default_backoff = 1
    settings.background.cancellation_polling = 1
    settings.persistence.consistency_timeout = 0.5
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # kopf would kill the process so long after its watches failed, although another life has begun by then
    settings.process.ultimate_exiting_timeout = None
