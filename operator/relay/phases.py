"""The life of one request, as a table: every legal move stands here and nowhere else."""

from enum import IntEnum
from typing import Final


class Phase(IntEnum):
    """receiving: the request arrives. waiting: for limits, a provider's slice or a seat. attempting: a provider has been
    asked, nothing has gone to the client. answering: the client has seen a byte. over: answered, cut off or left."""

    receiving = 0
    waiting = 1
    attempting = 2
    answering = 3
    over = 4


MOVES: Final = frozenset(
    {
        (Phase.receiving, Phase.waiting),
        (Phase.receiving, Phase.over),
        (Phase.waiting, Phase.attempting),
        (Phase.waiting, Phase.over),
        # another destination, because the one before provably did not process the call
        (Phase.attempting, Phase.attempting),
        (Phase.attempting, Phase.answering),
        (Phase.attempting, Phase.over),
        (Phase.answering, Phase.over),
    }
)
