"""Strategies: functions to one order of all neurons, first = kept first.

Keeping k neurons is taking the first k of the order, so one order serves every k. Rules for all strategies: equal
scores stand by index, lower first; a neuron that is dead in either tower stands last, dead ones by index.
"""

from purescope.ordering._input import TOWERS, Order, StrategyInput, best_first, redundancy
from purescope.ordering._strategies import STRATEGIES, Strategy, order_neurons

__all__ = [
    "STRATEGIES",
    "TOWERS",
    "Order",
    "Strategy",
    "StrategyInput",
    "best_first",
    "order_neurons",
    "redundancy",
]
