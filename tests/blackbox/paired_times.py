"""Whether two things take the same time: pairs in random order, judged by signs alone.

Were there no difference, the one of a pair would be the slower one as often as the other, however busy the machine is and
whatever the times look like. So the count is binomial, and a test needs no bound on a time: by chance it fails once in 10 ** 9 runs.
"""

import math
import random
from collections.abc import Callable

MOST_DEVIATIONS = 6.1
"""Standard deviations of a binomial count that chance exceeds once in 10 ** 9 times, on either side."""


def slower_by(one: Callable[[int], float], other: Callable[[int], float], *, pairs: int) -> float:
    """Returns by how many standard deviations the one is the slower of a pair more often than the other.

    Both do what they time once, given the number of the pair, and return the seconds it took.
    """
    order = random.Random(1)
    slower = ties = 0
    for number in range(pairs):
        first = order.random() < 0.5
        times = [(one if place == 0 else other)(number) for place in ((0, 1) if first else (1, 0))]
        mine, others = times if first else reversed(times)
        slower += mine > others
        ties += mine == others
    counted = pairs - ties
    if counted == 0:
        return 0.0
    return (slower - counted / 2) / (math.sqrt(counted) / 2)
