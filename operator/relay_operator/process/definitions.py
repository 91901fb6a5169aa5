"""Says when the cluster's custom resource definitions are of an earlier version: what is set there in newer fields is dropped."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from prometheus_client import Gauge

from relay_operator.api import definitions
from relay_operator.errors import OperatorError

logger = logging.getLogger(__name__)

_NAMED: Final = 5
"""Of the fields that are lacking, so many are named."""

_LACKING: Final = Gauge(
    "relay_operator_definition_fields_lacking",
    "Fields that this operator reads and the cluster's custom resource definitions do not have, as they were at its start",
)


async def compare(published: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]) -> None:
    """Compares them once; nothing is kept from running, since all that can be set there is understood."""
    try:
        fields = definitions.lacking(await published())
    except OperatorError as error:
        logger.info("custom resource definitions not compared", extra={"why": str(error)})
        return
    _LACKING.set(len(fields))
    if fields:
        named = ", ".join(fields[:_NAMED])
        more = f" and {len(fields) - _NAMED} more" if len(fields) > _NAMED else ""
        why = (
            f"they do not have {named}{more}, so the API server drops what is set there: "
            "kubectl apply --server-side --force-conflicts -f crds/ of this version (or crds.upgradeJob.enabled=true)"
        )
        logger.warning(
            "the custom resource definitions are older than the operator", extra={"why": why}
        )
