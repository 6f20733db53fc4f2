"""Encode sentences no further than to their ends.

Where attention is causal and the feature is read at the end of a sentence, what is behind the
longest sentence of a batch changes nothing. Without it, short prompts take a fraction of the time.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


def find_ends(tokens: Int64[Tensor, "n context"], end: int | None) -> Int64[Tensor, " n"]:
    """Find the first end-of-text token of each row.

    Args:
        tokens: rows of tokens.
        end: its id; None for the highest id in a row, as in CLIP's vocabulary.

    Returns:
        The position in each row; 0 in a row without one.

    Examples:
        >>> rows = torch.tensor([[7, 3, 9, 9], [7, 9, 0, 0]])
        >>> find_ends(rows, None).tolist(), find_ends(rows, 3).tolist()
        ([2, 1], [1, 0])
    """
    return (tokens if end is None else (tokens == end).int()).argmax(dim=1)


def cut_padding(tokens: Int64[Tensor, "n context"], end: int | None) -> Int64[Tensor, "n longest"]:
    """Cut off what is behind the end of the longest row."""
    return tokens[:, : int(find_ends(tokens, end).max()) + 1] if len(tokens) else tokens


def encode_causal(
    tower: Any, tokens: Int64[Tensor, "n length"], end: int | None
) -> Float[Tensor, "n neuron"]:
    """Encode rows of any length with a causal text tower of open_clip, and read each at its end.

    Args:
        tower: a `TextTransformer` or a `CLIP` of open_clip: embeddings, a causal mask, blocks, a
            norm and a projection.
        tokens: rows of tokens, no longer than the tower's context.
        end: see `find_ends`.
    """
    length, dtype = tokens.shape[1], tower.transformer.get_cast_dtype()
    hidden = tower.token_embedding(tokens).to(dtype)
    hidden = hidden + tower.positional_embedding[:length].to(dtype)
    hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length])
    # Not by `len`, which would fix the number of rows in an exported program.
    rows = torch.arange(tokens.shape[0], device=tokens.device)
    features: Tensor = tower.ln_final(hidden)[rows, find_ends(tokens, end)]
    if isinstance(tower.text_projection, nn.Linear):
        features = tower.text_projection(features)
    elif tower.text_projection is not None:
        features = features @ tower.text_projection
    return features
