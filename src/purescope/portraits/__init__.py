"""Portraits: what single neurons and classes are like, in tables from which a page can show them.

Everything that is shown of a neuron comes from here, so that a reader of the tables needs neither model nor images.
"""

from purescope.portraits._cosines import cosine_maps
from purescope.portraits._neurons import neuron_portraits
from purescope.portraits._portrait import PORTRAIT, portrait
from purescope.portraits._thumbnails import thumbnail, thumbnail_table
from purescope.portraits._words import vocabulary_table

__all__ = [
    "PORTRAIT",
    "cosine_maps",
    "neuron_portraits",
    "portrait",
    "thumbnail",
    "thumbnail_table",
    "vocabulary_table",
]
