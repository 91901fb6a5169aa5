"""Weighted max-min fair shares of a divisible capacity (water filling)."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from math import inf


class MaxMinShares:
    """The allocation in which no demand can get more without taking from one that has less per weight.

    Built in O(n log n) from (demand, weight) pairs; each method takes O(log n).
    """

    __slots__ = ("_demand_below", "_levels", "_weight_below", "total_demand", "total_weight")

    def __init__(self, demands: Iterable[tuple[float, float]]) -> None:
        ordered = sorted((demand / weight, demand, weight) for demand, weight in demands)
        self._levels = [level for level, _, _ in ordered]
        self._demand_below = [0.0, *accumulate(demand for _, demand, _ in ordered)]
        self._weight_below = [0.0, *accumulate(weight for _, _, weight in ordered)]
        self.total_demand = self._demand_below[-1]
        self.total_weight = self._weight_below[-1]

    def taken(self, level: float) -> float:
        """Returns the capacity used if each gets at most level per weight: the sum of min(demand, weight * level)."""
        below = bisect_left(self._levels, level)
        return self._demand_below[below] + level * (self.total_weight - self._weight_below[below])

    def level(self, capacity: float) -> float:
        """Returns the share per weight at which the capacity is used up; inf if the demands fit into it."""
        if self.total_demand <= capacity:
            return inf
        low, high = 0, len(self._levels)
        while low < high:
            middle = (low + high) // 2
            if self.taken(self._levels[middle]) < capacity:
                low = middle + 1
            else:
                high = middle
        # every demand below index low is met in full; the rest share what is left
        left = max(0.0, capacity - self._demand_below[low])
        return left / (self.total_weight - self._weight_below[low])
