"""Who is trained on and who is held out: whole artists, and a part of the clip art split by title.

Drawings whose titles share a stem stay on one side, so near-duplicates ("car 1", "car 2") never
straddle the split.
"""

import hashlib
import re

from bundle.drawing import Drawing

HELD_OUT_SOURCES = {"fluent-emoji", "openmoji", "circle-flags", "cif", "ph", "fa6-solid"}
HELD_OUT_PERCENT = 60

CLIPART_CLASSES = {
    "animals/birds": "bird", "animals/bugs": "insect", "animals/fish": "fish", "animals/mammals": "mammal",
    "buildings/homes": "house", "computer/hardware": "computer hardware", "computer/icons": "computer icon",
    "electronics": "electronics", "food/beverages": "drink", "food/desserts": "dessert", "food/fruit": "fruit",
    "geography": "map", "office": "office supplies", "people/clothing": "clothing", "people/smilies": "smiley face",
    "people/stickmen": "stick figure", "plants": "plant", "recreation/games": "playing card game",
    "recreation/music": "musical instrument", "recreation/party": "party", "recreation/sports": "sports",
    "shapes/arrows": "arrow", "signs_and_symbols/flags": "flag", "signs_and_symbols/map_symbols": "map symbol",
    "tools": "tool", "tools/weapons": "weapon", "transportation/boating": "boat",
    "transportation/roadsigns": "road sign", "transportation/vehicles": "vehicle",
}  # fmt: skip


def is_held_out(drawing: Drawing) -> bool:
    """True for a drawing that no model may be trained on."""
    if drawing.source in HELD_OUT_SOURCES:
        return True
    if drawing.source != "openclipart" or drawing.group not in CLIPART_CLASSES:
        return False
    stem = re.sub(r"[^a-z]", "", drawing.caption)[:12]
    return int(hashlib.md5(stem.encode()).hexdigest(), 16) % 100 < HELD_OUT_PERCENT
