"""Which neurons does a result depend on, and are these the pure ones?

The experiment's ``analyze_neuron_importance`` ablates one neuron at a time. `neuron_importance`
computes exactly the same accuracy drops, for all neurons together. It adds loss and margin, which
change in smaller steps than one image.
"""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from purescope.datasets.dataset import make_names_unique
from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.intervals import NORMAL_975
from purescope.maths.leave_one_out import LeaveOneOut, leave_one_out
from purescope.maths.measures import variance
from purescope.maths.overlaps import Projections, fix_for, neuron_scores
from purescope.maths.significance import partial_spearman, spearman, spearman_interval

KEY = ["model", "dataset", "ablation"]

_HALVINGS = 60  # an interval of length 2 is then shorter than float64's spacing

# Measures of importance, each with the sign that makes a larger value mean a larger importance.
_IMPORTANCE = {"accuracy_drop": 1, "loss_change": 1, "margin_change": -1}
_COVARIATES = ("image_norm", "text_norm", "variance")


def neuron_importance(
    features: Features,
    projections: Projections | None = None,
    *,
    ablation: str = "zero",
    seed: int = 0,
) -> pd.DataFrame:
    """Measure what is lost without each neuron.

    Args:
        features: features of one model on one dataset.
        projections: projections of the same model, to add the purity of its neurons.
        ablation: the value that the neuron is set to, see `purescope.maths.cells.ablation_values`.
        seed: seed of an ablation that draws.

    Returns:
        One row for each neuron, the most important first; of equal accuracy drops, the larger loss
        change first. Columns ``model``, ``dataset``, ``ablation``; ``neuron``; ``accuracy_drop``
        (accuracy with all neurons minus accuracy without this one, -1 to 1) with its 95 % interval
        ``low`` to ``high`` over images, see `drop_interval`; ``loss_change``, in nats, and
        ``margin_change`` (without this neuron minus with all, see
        `purescope.maths.leave_one_out.leave_one_out`); ``variance`` of its activation over the
        images. With projections also ``image_norm``, ``text_norm`` (of its weights),
        ``image_purity``, ``text_purity`` and ``total_overlap``.

    Raises:
        InputError: the ablation is unknown, or the projections are of another number of neurons.

    Examples:
        Without its only neuron an image is similar to no class, and a tie goes to the first class:

        >>> eye = torch.eye(3)
        >>> table = neuron_importance(Features(eye, eye, torch.arange(3), ("cat", "dog", "owl")))
        >>> table.set_index("neuron").accuracy_drop.sort_index().round(3).tolist()
        [0.0, 0.333, 0.333]
    """
    without = _leave_one_out(features, projections, ablation, seed)
    return _neuron_table(features, projections, ablation, without)


def class_importance(features: Features, *, ablation: str = "zero", seed: int = 0) -> pd.DataFrame:
    """Measure what each class loses without each neuron; arguments as in `neuron_importance`.

    Returns:
        One row for each neuron and class, in their order. Columns ``model``, ``dataset``,
        ``ablation``, ``neuron``, ``class`` and ``recall_drop``, the recall of the class with all
        neurons minus its recall without this one; NaN for a class without images.

    Examples:
        >>> eye = torch.eye(2)
        >>> features = Features(eye, eye, torch.arange(2), ("cat", "dog"))
        >>> class_importance(features)[["neuron", "class", "recall_drop"]]
           neuron class  recall_drop
        0       0   cat          0.0
        1       0   dog          0.0
        2       1   cat          0.0
        3       1   dog          1.0
    """
    return _class_table(features, ablation, _leave_one_out(features, None, ablation, seed))


def importance_tables(
    features: Features,
    projections: Projections | None = None,
    *,
    ablation: str = "zero",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of `neuron_importance` and `class_importance`, measured together.

    Arguments and errors are the same as there.
    """
    without = _leave_one_out(features, projections, ablation, seed)
    neurons = _neuron_table(features, projections, ablation, without)
    return neurons, _class_table(features, ablation, without)


def importance_and_purity(table: pd.DataFrame) -> pd.DataFrame:
    """Correlate importance with purity over the neurons: are pure neurons the important ones?

    Args:
        table: tables of `neuron_importance` with projections, of one or more models and datasets.
            Dead neurons, which have no purity, are left out.

    Returns:
        One row for each model, dataset, ablation, ``importance`` (accuracy_drop, loss_change,
        margin_change, with signs so that a larger value means a larger importance) and ``purity``
        (of both towers, as the experiment ranks by it, or of one). Spearman's ``rho`` has a 95 %
        interval ``low`` to ``high`` over neurons. ``partial``, with ``partial_low`` to
        ``partial_high``, is the correlation given the norms of the neuron's weights and the
        variance of its activation, without what is linear in their ranks. ``neurons`` is the number
        of neurons.

    Raises:
        InputError: the table has no purity, or too few neurons for an interval.
    """
    if "total_overlap" not in table:
        raise InputError(
            "an importance table without purity",
            fix="give neuron_importance the model's projections",
        )
    rows = []
    for key, group in table.groupby(KEY, sort=False):
        live = group[group.total_overlap.notna()]
        covariates = torch.tensor(live[[*_COVARIATES]].to_numpy().T)
        purities = {
            "both": 1 / live.total_overlap,
            "image": live.image_purity,
            "text": live.text_purity,
        }
        for importance, sign in _IMPORTANCE.items():
            importances = torch.tensor(sign * live[importance].to_numpy())
            for towers, values in purities.items():
                row = dict(zip(KEY, key, strict=True))
                row |= {"importance": importance, "purity": towers}
                purity_values = torch.tensor(values.to_numpy())
                rows.append(row | _correlation(purity_values, importances, covariates))
    return pd.DataFrame(rows)


def _leave_one_out(
    features: Features, projections: Projections | None, ablation: str, seed: int
) -> LeaveOneOut:
    neurons = features.image.shape[1]
    if projections is not None and projections.neurons != neurons:
        raise InputError(
            f"projections of {projections.neurons} neurons for features of {neurons}",
            expected="the projections of the model that made the features",
            fix=fix_for(projections, neurons),
        )
    arrays = features.image, features.text, features.labels
    return leave_one_out(*arrays, scale=features.logit_scale, ablation=ablation, seed=seed)


def _neuron_table(
    features: Features, projections: Projections | None, ablation: str, without: LeaveOneOut
) -> pd.DataFrame:
    neurons = features.image.shape[1]
    lost, gained = (
        flips[:, 0].bincount(minlength=neurons) for flips in (without.lost, without.gained)
    )
    low, high = drop_interval(lost, gained, len(features.labels))
    columns = {
        "neuron": torch.arange(neurons),
        "accuracy_drop": without.accuracy_drop,
        "low": low,
        "high": high,
        "loss_change": without.loss_change,
        "margin_change": without.margin_change,
        "variance": variance(features.image),
    }
    if projections is not None:
        scores = neuron_scores(projections)
        columns |= {
            "image_norm": projections.image.double().norm(dim=1),
            "text_norm": projections.text.double().norm(dim=1),
            **{name: scores[name] for name in ("image_purity", "text_purity", "total_overlap")},
        }
    table = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return _with_key(table, features, ablation).sort_values(
        ["accuracy_drop", "loss_change"], ascending=False, kind="stable", ignore_index=True
    )


def _class_table(features: Features, ablation: str, without: LeaveOneOut) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product(
        [range(features.image.shape[1]), make_names_unique(features.classes)],
        names=["neuron", "class"],
    )
    table = pd.DataFrame(
        {"recall_drop": without.recall_drop.flatten().numpy()}, index=rows
    ).reset_index()
    return _with_key(table, features, ablation)


def _with_key(table: pd.DataFrame, features: Features, ablation: str) -> pd.DataFrame:
    for place, value in enumerate((features.model, features.dataset, ablation)):
        table.insert(place, KEY[place], value)
    return table


def _correlation(
    x: Float[Tensor, " neuron"],
    y: Float[Tensor, " neuron"],
    covariates: Float[Tensor, "covariate neuron"],
) -> dict[str, float]:
    rho, partial = spearman(x, y), partial_spearman(x, y, covariates)
    low, high = spearman_interval(rho, len(x))
    partial_low, partial_high = spearman_interval(partial, len(x), covariates=len(covariates))
    columns = {"rho": rho, "low": low, "high": high, "partial": partial}
    columns |= {"partial_low": partial_low, "partial_high": partial_high}
    return {name: value.item() for name, value in columns.items()} | {"neurons": len(x)}


def drop_interval(
    lost: Real[Tensor, "*cell"], gained: Real[Tensor, "*cell"], samples: int
) -> tuple[Float[Tensor, "*cell"], Float[Tensor, "*cell"]]:
    """Return the 95 % interval of an accuracy drop, from the numbers of samples lost and gained.

    It holds the drops that Tango's score test for paired fractions (Statistics in Medicine 17,
    1998) does not reject: ``|lost - gained - n drop| <= 1.96 sqrt(n (2 q + drop (1 - drop)))``,
    where q is the likeliest fraction gained given the drop. Most neurons change a few images or
    none, for which a bootstrap has an interval of length 0. This interval says how often a change
    may happen and still not be observed.

    Args:
        lost, gained: numbers of samples that a change makes wrong, and makes right; all three are
            whole numbers, or are scaled to the number of independent samples.
        samples: number of all samples.

    Examples:
        No change in 1,000 images, and 30 images lost against 10 gained:

        >>> low, high = drop_interval(torch.tensor([0, 30]), torch.tensor([0, 10]), 1000)
        >>> low.round(decimals=4), high.round(decimals=4)
        (tensor([-0.0038,  0.0080], dtype=torch.float64),
         tensor([0.0038, 0.0336], dtype=torch.float64))
    """
    drop = (lost - gained).double() / samples
    one, z = torch.ones_like(drop), torch.tensor([NORMAL_975, -NORMAL_975], dtype=torch.float64)
    low, high = torch.stack([-one, drop], dim=-1), torch.stack([drop, one], dim=-1)
    counts = (lost.double()[..., None].numpy(), gained.double()[..., None].numpy())
    ends = torch.from_numpy(_limit(*counts, samples, low.numpy(), high.numpy(), z.numpy()))
    return ends[..., 0], ends[..., 1]


def _limit(
    lost: Float64[np.ndarray, "*cell 1"],
    gained: Float64[np.ndarray, "*cell 1"],
    samples: int,
    low: Float64[np.ndarray, "*cell end"],
    high: Float64[np.ndarray, "*cell end"],
    z: Float64[np.ndarray, " end"],
) -> Float64[np.ndarray, "*cell end"]:
    """Return the drops between `low` and `high` at which the score statistic is z.

    The statistic decreases as the drop increases. NumPy takes a third of torch's time for such
    small arrays.
    """
    for _ in range(_HALVINGS):
        drop = (low + high) / 2
        b = (2 * samples - lost + gained) * drop - lost - gained
        c = -gained * drop * (1 - drop)
        q = (np.sqrt(np.maximum(np.square(b) - 8 * samples * c, 0)) - b) / (4 * samples)
        deviation = np.sqrt(np.maximum(samples * (2 * q + drop * (1 - drop)), 0))
        below = lost - gained - samples * drop > z * deviation
        low, high = np.where(below, drop, low), np.where(below, high, drop)
    middle: np.ndarray = (low + high) / 2
    return middle
