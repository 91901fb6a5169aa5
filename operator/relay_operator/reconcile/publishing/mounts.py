"""The kubelet's refresh of what relay pods mount: at once instead of within a minute."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.relays import Pod
from relay_operator.errors import ApiServerRefused, Conflict

_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})
"""The pod is gone, or another one has its name, which mounts what there is by now: an API server takes no other UID."""


async def refresh(api: ApiServer, pods: Iterable[Pod], mark: str) -> None:
    """Changes an annotation of each pod, which makes its kubelet look; the same mark again changes nothing."""
    for pod in pods:
        patch = {"metadata": {"uid": pod.uid, "annotations": {names.ANNOTATION_NUDGE: mark}}}
        try:
            await api.patch("Pod", pod.name, patch, namespace=pod.namespace)
        except (ApiServerRefused, Conflict) as error:
            if isinstance(error, ApiServerRefused) and error.status not in _GONE:
                raise
