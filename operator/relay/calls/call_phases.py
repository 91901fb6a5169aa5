"""The phases of a call, as a table: every legal move stands here and nowhere else.

Plain integers, since a call moves four times and members of an enum would each be looked up by name.
"""

from typing import Final

RECEIVING: Final = 0
"""The request arrives."""
WAITING: Final = 1
"""It waits for limits, a provider's quota or a seat."""
ATTEMPTING: Final = 2
"""A provider has been asked; nothing has gone to the client."""
ANSWERING: Final = 3
"""The client has seen a byte."""
OVER: Final = 4
"""Finished: answered, aborted by the relay, or abandoned by the client."""

MOVES: Final = (
    (WAITING, OVER),
    (ATTEMPTING, OVER),
    # again: another target, because the one before did not process the call, or its provider says that it may be tried again
    (ATTEMPTING, ANSWERING, OVER),
    (OVER,),
    (),
)
"""Legal moves: from each phase to those that may follow."""
_LEGAL: Final = tuple(sum(1 << target for target in targets) for targets in MOVES)


def may_move(source: int, target: int) -> bool:
    """Says if the move is legal."""
    return _LEGAL[source] >> target & 1 == 1
