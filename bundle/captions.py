"""Captions of the two models, as `SLOTS` texts for each drawing, one of which is drawn at each
step.

Both models see the same prompt template in the same slots. In the other slots `clip` always sees
the plain caption, `laclip` sees it in some and rewrites in the rest: keywords, groups, synonyms,
glosses and hypernyms, in the way of Fan et al., "Improving CLIP Training with Language Rewrites"
(2023), with word lists in place of a language model.
"""

import numpy as np

from bundle.drawing import Drawing
from bundle.wordnet import Sense, WordNet

SLOTS = 20
TEMPLATE_SLOTS = 3  # 15 %
PLAIN_SLOTS = 6  # 30 %; with the templates 45 % of what laclip sees, the rest are rewrites
TEMPLATES = ("a picture of {}", "an icon of {}", "a photo of a {}", "an emoji of {}")
_KIND = {"emoji": "an emoji of", "flag": "the", "icon": "an icon of", "clipart": "a clip art of"}


def clip_captions(drawing: Drawing, rng: np.random.Generator) -> list[str]:
    """`SLOTS` captions: templates first, then the plain caption."""
    return _templated(drawing, rng) + [drawing.caption] * (SLOTS - TEMPLATE_SLOTS)


def laclip_captions(drawing: Drawing, rng: np.random.Generator, wordnet: WordNet) -> list[str]:
    """`SLOTS` captions: templates first, then the plain caption, then rewrites drawn with
    replacement.
    """
    fixed = _templated(drawing, rng) + [drawing.caption] * PLAIN_SLOTS
    choices = rewrites(drawing, wordnet)
    keyword_forms = ["{caption}, {words}", "{words}"] if drawing.keywords else []
    drawn = []
    for _ in range(SLOTS - len(fixed)):
        pick = int(rng.integers(len(choices) + len(keyword_forms)))
        if pick < len(choices):
            drawn.append(choices[pick])
        else:
            words = rng.permutation(drawing.keywords)[: rng.integers(1, 4)]
            drawn.append(
                keyword_forms[pick - len(choices)].format(
                    caption=drawing.caption, words=", ".join(words)
                )
            )
    return fixed + drawn


def _templated(drawing: Drawing, rng: np.random.Generator) -> list[str]:
    return [
        str(template).format(drawing.caption)
        for template in rng.choice(TEMPLATES, TEMPLATE_SLOTS, replace=False)
    ]


def rewrites(drawing: Drawing, wordnet: WordNet) -> list[str]:
    """Every fixed rewrite of a drawing's caption."""
    caption = drawing.caption
    texts = [f"{_KIND[drawing.kind]} {caption}"]
    if drawing.description:
        texts.append(drawing.description)
    group = (drawing.subgroup or drawing.group).translate(str.maketrans("-/_", "   "))
    if group:
        texts.append(
            f"{caption}, {group}" if drawing.kind == "clipart" else f"{caption}, a kind of {group}"
        )
    if drawing.kind == "flag":
        country = caption.removeprefix("flag of ")
        return [*texts, country, f"{country} national flag"]
    sense = wordnet.sense(caption)
    if sense is not None:
        texts += _from_sense(caption, sense)
    return texts


def _from_sense(caption: str, sense: Sense) -> list[str]:
    texts = [f"{caption}: {sense.gloss}"] if sense.gloss else []
    synonym = next((word for word in sense.synonyms if word != caption), None)
    if synonym:
        texts.append(f"a drawing of {_a(synonym)}" if sense.exact else f"{caption}, {synonym}")
    if sense.hypernym:
        texts.append(f"{caption}, a type of {sense.hypernym}")
        if sense.exact and sense.gloss:
            texts.append(f"{_a(sense.hypernym)}: {sense.gloss}")
    return texts


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
