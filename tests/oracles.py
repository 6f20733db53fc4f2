"""The expected results of the maths: loops over numbers, written from the definitions.

They are slow and use no tensors. `experiment_order` is different: it is the experiment's own code.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Row = Sequence[float]
TIE = 1e-9  # scores as near as this are equal, whatever rounding made of them


def dot(a: Row, b: Row) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Row, b: Row) -> float:
    """Return the cosine, 0 where one of the two has no direction."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return dot(a, b) / lengths if lengths else 0.0


def overlap(rows: Sequence[Row]) -> list[float]:
    """Return the mean |cosine| with the d - 1 other rows; NaN for a zero row, which adds 0 to the
    others.
    """
    scores = []
    for j, row in enumerate(rows):
        others = [abs(cosine(row, other)) for i, other in enumerate(rows) if i != j]
        mean = math.fsum(others) / len(others) if others else 0.0
        scores.append(mean if any(row) else math.nan)
    return scores


def total_overlap(image: Sequence[Row], text: Sequence[Row]) -> list[float]:
    """Sum |cosine| with the others over both towers."""
    return [(a + b) * (len(image) - 1) for a, b in zip(overlap(image), overlap(text), strict=True)]


def order(scores: Sequence[float], *, largest: bool = False) -> list[int]:
    """Take the best remaining one repeatedly, the lowest index of equal ones; NaN comes last."""
    sign = -1 if largest else 1
    alive = [j for j, score in enumerate(scores) if not math.isnan(score)]
    dead = [j for j, score in enumerate(scores) if math.isnan(score)]
    picked = []
    while alive:
        best = min(sign * scores[j] for j in alive)
        first = next(j for j in alive if sign * scores[j] <= best + TIE)
        picked.append(first)
        alive.remove(first)
    return picked + dead


def experiment_order(
    image_proj: Tensor, text_proj: Tensor, sam: int, *, largest: bool
) -> list[int]:
    """Return the experiment's selection: float32, no rule for ties, no result for a zero row."""
    image_proj, text_proj = normalize_tensor(image_proj), normalize_tensor(text_proj)
    image_VVT = torch.matmul(image_proj, image_proj.T)
    text_VVT = torch.matmul(text_proj, text_proj.T)
    image_VVT -= torch.diag(torch.diag(image_VVT))
    text_VVT -= torch.diag(torch.diag(text_VVT))
    total_row_sum = torch.sum(torch.abs(image_VVT), dim=1) + torch.sum(torch.abs(text_VVT), dim=1)
    return torch.topk(total_row_sum, sam, largest=largest).indices.tolist()


def normalize_tensor(V: Tensor) -> Tensor:
    norm = torch.norm(V, p=2, dim=1, keepdim=True)
    return V / norm


def masked(row: Row, kept: Sequence[int]) -> list[float]:
    """Set all places to zero except the kept ones."""
    return [value if j in kept else 0.0 for j, value in enumerate(row)]


def unit(row: Row) -> list[float]:
    length = math.hypot(*row)
    return [value / length if length else 0.0 for value in row]


def ranking(
    image: Row, text: Sequence[Row], kept: Sequence[int], *, renormalise: bool = False
) -> list[int]:
    """Rank the classes of one image, best first, with only the kept neurons; ties go to the lower
    class.
    """
    image = masked(image, kept)
    rows = [unit(masked(row, kept)) if renormalise else masked(row, kept) for row in text]
    logits = [dot(image, row) for row in rows]
    return sorted(range(len(text)), key=lambda c: (-logits[c], c))


def accuracy(
    rankings: Sequence[Sequence[int]], labels: Sequence[int]
) -> tuple[float, float, float]:
    """Return top-1, top-5, and the mean recall of the classes that have images."""
    pairs = list(zip(rankings, labels, strict=True))
    top1 = sum(ranked[0] == label for ranked, label in pairs) / len(pairs)
    top5 = sum(label in ranked[:5] for ranked, label in pairs) / len(pairs)
    recalls = []
    for c in sorted(set(labels)):
        answers = [ranked[0] for ranked, label in pairs if label == c]
        recalls.append(answers.count(c) / len(answers))
    return top1, top5, sum(recalls) / len(recalls)


def silhouette(rows: Sequence[Row], labels: Sequence[int]) -> list[float]:
    """Return the silhouette of each sample, over all pairs.

    It has scikit-learn's conventions: 0 in a class of one, and where a = b = 0.
    """
    scores = []
    for i, label in enumerate(labels):
        distances: dict[int, list[float]] = {c: [] for c in labels}
        for j, other in enumerate(labels):
            if j != i:
                distance = 1 - cosine(rows[i], rows[j])
                distances[other].append(0.0 if distance < 1e-12 else distance)
        own = distances.pop(label)
        if not own:
            scores.append(0.0)
            continue
        a = math.fsum(own) / len(own)
        b = min(math.fsum(to) / len(to) for to in distances.values())
        scores.append((b - a) / max(a, b) if max(a, b) > 0 else 0.0)
    return scores
