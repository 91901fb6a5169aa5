"""Divides a platform's Tenants among operators.

Every operator has the whole list, so each Tenant is one operator's alone and none is left out: the first shard whose selector
fits has it, and the main operator, which has no name, has those that none fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from relay_operator.api import label_selector
from relay_operator.api.label_selector import LabelSelector
from relay_operator.errors import ShardsUnusable

MAIN: Final = ""
"""Name of the operator that is no shard."""

ShardName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]


class Shard(BaseModel):
    """One further operator, and the Tenants that are its."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, ignored_types=(cached_property,)
    )

    name: ShardName
    tenant_selector: Annotated[str, Field(alias="tenantSelector", min_length=1, max_length=1024)]

    @field_validator("tenant_selector")
    @classmethod
    def _is_a_selector(cls, text: str) -> str:
        label_selector.parse(text)
        return text

    @cached_property
    def selector(self) -> LabelSelector:
        return label_selector.parse(self.tenant_selector)


@dataclass(frozen=True, slots=True)
class Shards:
    """All shards in their order, and which of the operators this one is."""

    own: str = MAIN
    listed: tuple[Shard, ...] = ()

    @property
    def is_main(self) -> bool:
        """Tells whether this operator also has what is no Tenant's: the statuses of Providers, routes outside of any."""
        return self.own == MAIN

    def of(self, labels: Mapping[str, str]) -> str:
        """Returns whose a Tenant with these labels is."""
        return next((one.name for one in self.listed if one.selector.matches(labels)), MAIN)

    def are_ours(self, labels: Mapping[str, str]) -> bool:
        """Tells whether a Tenant with these labels is this operator's."""
        return self.of(labels) == self.own

    @classmethod
    def read(cls, own: str, text: str) -> Self:
        """Reads the list, as JSON; raises ShardsUnusable, also for two of a name and for an operator that is none of them."""
        try:
            listed = _LIST.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ShardsUnusable(f"the list of shards: {place}: {first['msg']}") from error
        names = [one.name for one in listed]
        if len(set(names)) < len(names):
            raise ShardsUnusable(f"two shards have the same name: {', '.join(names)}")
        if own not in (MAIN, *names):
            raise ShardsUnusable(
                f"there is no shard {own}; there are: {', '.join(names) or 'none'}"
            )
        return cls(own, listed)


_LIST: Final = TypeAdapter(tuple[Shard, ...])
