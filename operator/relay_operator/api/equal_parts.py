"""One object in place of all parts of resources and documents that are equal, as sys.intern has one text.

Tenants of a fleet mostly ask for the same, and each one's document names the same Providers with all their models: kept apart they
are a third of what a Tenant takes of the operator's memory, and of Providers with hundreds of models far more.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_MOST_KNOWN: Final = 4096
"""The oldest is forgotten for a new one: what many have comes again at once, and what one alone has is not kept after it."""

_known_names: dict[frozenset[str], frozenset[str]] = {}
_known_fields: dict[frozenset[str], set[str]] = {}
_known: dict[tuple[Any, ...], Any] = {}
"""By what a part is made of: its type, and its fields, of which parts count as the very objects. They live as long as what has them."""


def with_equal_parts(whole: M) -> M:
    """Returns the same model, frozen as all of them are, with one object for each of its parts and all that are equal to it."""
    fields = whole.__dict__
    for name, value in fields.items():
        if isinstance(value, BaseModel | tuple):
            fields[name] = _one(value)
    return with_equal_fields(whole)


def with_equal_fields(model: M) -> M:
    """Returns the same model, with one set in place of all that name the same fields as given: pydantic makes one for each model,
    which takes more than most models' values, and copies it before a copy of the model has others.
    """
    given = model.model_fields_set
    known = _known_fields.setdefault(frozenset(given), given)
    object.__setattr__(model, "__pydantic_fields_set__", known)
    _forget_oldest(_known_fields)
    return model


def equal_part(part: M) -> M:
    """Returns the one object that stands for all that are equal to a part."""
    found: M = _one(part)
    return found


def equal_names(names: Iterable[str]) -> frozenset[str]:
    """Returns the one set that stands for all of the same names: the routes of most tenants name the same Provider, in a dozen places."""
    wanted = frozenset(names)
    known = _known_names.setdefault(wanted, wanted)
    _forget_oldest(_known_names)
    return known


def _one(value: Any) -> Any:
    """Returns what stands for a model, or for a tuple of models."""
    if isinstance(value, BaseModel):
        made_of = map(_mark, with_equal_parts(value).__dict__.values())
    elif value and isinstance(value[0], BaseModel):
        value = tuple(map(_one, value))
        made_of = map(_mark, value)
    else:
        return value
    known = _known.setdefault((type(value), *made_of), value)
    _forget_oldest(_known)
    return known


def _forget_oldest(known: dict[Any, Any]) -> None:
    if len(known) > _MOST_KNOWN:
        del known[next(iter(known))]


def _mark(value: Any) -> Any:
    """Returns what tells a field from every other that is not the same: 1 is not 1.0, and a dictionary has an order."""
    match value:
        case str():
            return value
        case BaseModel():
            return BaseModel, id(value)
        case tuple() | list():
            is_of_models = bool(value) and isinstance(value[0], BaseModel)
            return (type(value), id(value)) if is_of_models else (type(value), *map(_mark, value))
        case dict():
            return dict, *((name, _mark(one)) for name, one in value.items())
        case _:
            return type(value), value
