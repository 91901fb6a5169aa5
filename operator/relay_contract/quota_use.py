"""Tells how much of what a relay pod holds of each provider's quota it uses, as coarse levels: they decide who lends to whom."""

from typing import Annotated, Final, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints

from relay_contract.document import Name, Part

QuotaLevel = Literal["Quiet", "Usual", "Busy", "Short"]
"""Less than QUIET of it for QUIET_SECONDS; less than BUSY of it of late; more than that; SHORT of it, or calls wait for more."""
QUOTA_LEVELS: Final[tuple[QuotaLevel, ...]] = get_args(QuotaLevel)
"""From the least to the most."""
QUIET: Final = 0.1
BUSY: Final = 0.4
SHORT: Final = 0.8
QUIET_SECONDS: Final = 300.0
MAX_USES: Final = 256
"""More than the providers of the largest document."""


class QuotaUse(Part):
    """One provider that has a quota."""

    # a newer relay may say more
    model_config = ConfigDict(extra="ignore")

    provider: Name
    level: QuotaLevel


class QuotaUses(Part):
    """Every provider of the document in force that has a quota. tag names this state of all of them."""

    model_config = ConfigDict(extra="ignore")

    tag: Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9a-f]*$")] = ""
    uses: Annotated[tuple[QuotaUse, ...], Field(max_length=MAX_USES)] = ()
