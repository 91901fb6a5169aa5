"""The common parts of our custom resources."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from relay_operator.errors import InvalidSpec


class Part(BaseModel):
    """A frozen piece of a custom resource; unknown fields of newer versions are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class Metadata(Part):
    name: str
    namespace: str = ""
    uid: str
    generation: int = 1
    creation_timestamp: datetime | None = None
    annotations: dict[str, str] = {}


class Resource(Part):
    """A custom resource as the API server sent it."""

    metadata: Metadata

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Parses a body; raises InvalidSpec that names the first field that does not fit."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise InvalidSpec(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """Names the first field that does not fit, and why; never its value, which may be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    # names of fields in a map are somebody's words too
    return "".join(one if one.isprintable() else " " for one in (where and f"{where}: ") + said)
