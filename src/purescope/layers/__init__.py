"""Depth: how pure and how spread out each layer of both towers is, in its weights and in its activations."""

from purescope.layers._places import Place, find_places
from purescope.layers._table import layer_table

__all__ = ["Place", "find_places", "layer_table"]
