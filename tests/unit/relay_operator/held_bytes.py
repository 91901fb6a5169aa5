"""Bytes that objects hold: what could be freed if they went, as far as nothing else has it."""

import gc
import sys
import types
from collections.abc import Iterable
from typing import Any, Final

_OF_THE_PROGRAM: Final = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
)


def held_bytes(roots: Iterable[Any], *, but: Iterable[Any]) -> int:
    """Counts the bytes of the objects and of all they refer to, each once, without the program and without what else is named."""
    gc.collect()
    seen = {id(one) for one in but} | {id(vars(module)) for module in [*sys.modules.values()]}
    held, found = 0, [*roots]
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, _OF_THE_PROGRAM):
            continue
        seen.add(id(one))
        held += sys.getsizeof(one)
        found += gc.get_referents(one)
    return held
