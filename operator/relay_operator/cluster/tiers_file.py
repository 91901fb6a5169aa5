"""The file with the platform's tiers, which the chart mounts."""

from pathlib import Path

from relay_operator.api.tiers import Tiers
from relay_operator.errors import TiersUnusable


def read_tiers(file: str) -> Tiers:
    """Reads the tiers; none without a file. Raises TiersUnusable, with what to do."""
    if not file:
        return Tiers()
    try:
        return Tiers.parse(Path(file).read_bytes())
    except (OSError, TiersUnusable) as error:
        raise TiersUnusable(
            f"the tiers in {file} cannot be used: {error}; correct the chart's value tiers"
        ) from error
