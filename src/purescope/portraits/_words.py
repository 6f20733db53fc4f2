"""The words closest to a neuron: class names, and those of a general vocabulary."""

import os
from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.datasets.prompts import vocabulary
from purescope.features.cache import Cache
from purescope.features.extraction import text_features
from purescope.maths.overlaps import centre
from purescope.models.model import Model
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS
from purescope.tables.schemas import WORDS

EACH = 8  # words of a neuron


def word_table(text: Float[Tensor, "word neuron"], words: Sequence[str], *, model: str, dataset: str) -> pd.DataFrame:
    """The `EACH` words that activate each neuron most beyond what words do: `purescope.tables.schemas.WORDS`.

    The score is the activation by a word less the neuron's mean over all words, in their standard deviations: most
    neurons lean to one side whatever is said. Of equal words the first is closer; a neuron that tells none apart has
    none.

    Args:
        text: unit rows, one for each word; two or more.
        words: no two the same.
        model, dataset: names for the table.
    """
    deviation = centre(text.T, "words")
    spread = deviation.square().mean(dim=1, keepdim=True).sqrt()
    tells = (spread[:, 0] > 0).nonzero()[:, 0]
    scores = deviation[tells] / spread[tells]
    each = min(EACH, len(words))
    closest = scores.argsort(dim=1, descending=True, stable=True)[:, :each]
    table = pd.DataFrame(
        {
            "model": model,
            "dataset": dataset,
            "neuron": tells.repeat_interleave(each).numpy(),
            "place": torch.arange(1, each + 1).repeat(len(tells)).numpy(),
            "word": pd.array(words, dtype=STRINGS)[closest.flatten().numpy()],
            "score": scores.gather(1, closest).flatten().numpy(),
        }
    )
    return check_table(table, WORDS)


def vocabulary_table(model: Model, protocol: str, cache: Cache | str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """`word_table` of a general vocabulary, see `purescope.datasets.prompts.vocabulary`; once a model, a thousand
    sentences.

    Args:
        model: whose text tower says what a word activates.
        protocol: whose plain template the words are put into, ``native`` or ``paper``.
        cache: a folder where features are kept, as for `purescope.features.extraction.extract`.
    """
    words = vocabulary(protocol)
    return word_table(text_features(model, words, cache), words.names, model=model.label, dataset=VOCABULARY)
