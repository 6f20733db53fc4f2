"""Which neurons does a result rest on, and are they the pure ones?

The experiment's ``analyze_neuron_importance`` ablates one neuron at a time; `neuron_importance`
gives the same accuracy drops exactly, all at once, with what an accuracy in steps of one image
cannot show: loss and margin.
"""

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.datasets.dataset import make_names_unique
from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.intervals import NORMAL_975
from purescope.maths.leave_one_out import LeaveOneOut, leave_one_out
from purescope.maths.measures import variance
from purescope.maths.overlaps import Projections, fix_for, purity, total_overlap
from purescope.maths.significance import partial_spearman, spearman, spearman_interval

KEY = ["model", "dataset", "ablation"]

_HALVINGS = 60  # of an interval of length 2: below float64's spacing

# Importance, and the sign that makes more of it mean that a neuron matters more.
_IMPORTANCE = {"accuracy_drop": 1, "loss_change": 1, "margin_change": -1}
_PURITY = ("both", "image", "text")
_GIVEN = ("image_norm", "text_norm", "variance")


def neuron_importance(
    features: Features,
    projections: Projections | None = None,
    *,
    ablation: str = "zero",
    seed: int = 0,
) -> pd.DataFrame:
    """What is lost without each neuron: one row a neuron, the most important first.

    Args:
        features: of one model on one data set.
        projections: of the same model, to add how pure its neurons are.
        ablation: what the neuron is set to, see `purescope.maths.cells.ablation_values`.
        seed: of an ablation that draws.

    Returns:
        ``model``, ``dataset``, ``ablation``; ``neuron``; ``accuracy_drop`` (accuracy with all
        neurons less accuracy without this one, -1 to 1) with its 95 % interval ``low`` to ``high``
        over images, see `drop_interval`; ``loss_change``, in nats, and ``margin_change`` (without
        this neuron less with all, see `purescope.maths.leave_one_out.leave_one_out`); ``variance``
        of its activation over the images. With projections also ``image_norm``, ``text_norm`` (of
        its weights), ``image_purity``, ``text_purity`` and ``total_overlap``. Equal accuracy drops
        stand in the order of their loss changes.

    Raises:
        InputError: the ablation is unknown, or the projections are of another number of neurons.

    Examples:
        Without its one neuron an image is like no class, and a tie goes to the first:

        >>> eye = torch.eye(3)
        >>> features = Features(eye, eye, torch.arange(3), ("cat", "dog", "owl"), model="a", dataset="pets")
        >>> neuron_importance(features).set_index("neuron").accuracy_drop.sort_index().round(3).tolist()
        [0.0, 0.333, 0.333]
    """
    return _neuron_table(
        features, projections, ablation, _left_out(features, projections, ablation, seed)
    )


def class_importance(features: Features, *, ablation: str = "zero", seed: int = 0) -> pd.DataFrame:
    """What each class loses without each neuron: one row a neuron and class, in their order.

    Columns: ``model``, ``dataset``, ``ablation``, ``neuron``, ``class`` and ``recall_drop``, the
    class's recall with all neurons less its recall without this one; NaN for a class without
    images. Arguments as in `neuron_importance`.

    Examples:
        >>> eye = torch.eye(2)
        >>> features = Features(eye, eye, torch.arange(2), ("cat", "dog"), model="a", dataset="pets")
        >>> class_importance(features)[["neuron", "class", "recall_drop"]]
           neuron class  recall_drop
        0       0   cat          0.0
        1       0   dog          0.0
        2       1   cat          0.0
        3       1   dog          1.0
    """
    return _class_table(features, ablation, _left_out(features, None, ablation, seed))


def importance_tables(
    features: Features,
    projections: Projections | None = None,
    *,
    ablation: str = "zero",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `neuron_importance` and `class_importance` give, measured once; arguments and errors as
    there.
    """
    without = _left_out(features, projections, ablation, seed)
    return _neuron_table(features, projections, ablation, without), _class_table(
        features, ablation, without
    )


def importance_and_purity(table: pd.DataFrame) -> pd.DataFrame:
    """Are pure neurons the important ones? Rank correlations over the neurons of what
    `neuron_importance` gave.

    Args:
        table: of one or more models and data sets, with projections. Dead neurons, which have no
            purity, are left out.

    Returns:
        One row for each model, data set, ablation, ``importance`` (accuracy_drop, loss_change,
        margin_change, each such that more of it means that a neuron matters more) and ``purity``
        (of both towers, as the experiment ranks by it, or of one): Spearman's ``rho`` with its 95 %
        interval ``low`` to ``high`` over neurons, and ``partial`` with ``partial_low`` to
        ``partial_high``, given the norms of the neuron's weights and the variance of its
        activation, which takes out what is linear in their ranks. ``neurons`` is their number.

    Raises:
        InputError: the table has no purity, or too few neurons for an interval.
    """
    if "total_overlap" not in table:
        raise InputError(
            "an importance table without purity",
            fix="give neuron_importance the model's projections",
        )
    rows = []
    for key, part in table.groupby(KEY, sort=False):
        alive = part[part.total_overlap.notna()]
        given = torch.tensor(alive[[*_GIVEN]].to_numpy().T)
        pure = {
            "both": 1 / alive.total_overlap,
            "image": alive.image_purity,
            "text": alive.text_purity,
        }
        for importance, sign in _IMPORTANCE.items():
            matters = torch.tensor(sign * alive[importance].to_numpy())
            for towers in _PURITY:
                row = dict(zip(KEY, key, strict=True)) | {
                    "importance": importance,
                    "purity": towers,
                }
                rows.append(
                    row | _correlation(torch.tensor(pure[towers].to_numpy()), matters, given)
                )
    return pd.DataFrame(rows)


def _left_out(
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
        columns |= {
            "image_norm": projections.image.double().norm(dim=1),
            "text_norm": projections.text.double().norm(dim=1),
            "image_purity": purity(projections.image),
            "text_purity": purity(projections.text),
            "total_overlap": total_overlap(projections),
        }
    table = _named(
        pd.DataFrame({name: values.numpy() for name, values in columns.items()}), features, ablation
    )
    return table.sort_values(
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
    return _named(table, features, ablation)


def _named(table: pd.DataFrame, features: Features, ablation: str) -> pd.DataFrame:
    for place, name in enumerate((features.model, features.dataset, ablation)):
        table.insert(place, KEY[place], name)
    return table


def _correlation(
    x: Float[Tensor, " neuron"],
    y: Float[Tensor, " neuron"],
    given: Float[Tensor, "covariate neuron"],
) -> dict[str, float]:
    rho, partial = spearman(x, y), partial_spearman(x, y, given)
    low, high = spearman_interval(rho, len(x))
    partial_low, partial_high = spearman_interval(partial, len(x), covariates=len(given))
    named = {"rho": rho, "low": low, "high": high, "partial": partial}
    named |= {"partial_low": partial_low, "partial_high": partial_high}
    return {name: value.item() for name, value in named.items()} | {"neurons": len(x)}


def drop_interval(
    lost: Int64[Tensor, "*cell"], gained: Int64[Tensor, "*cell"], samples: int
) -> tuple[Float[Tensor, "*cell"], Float[Tensor, "*cell"]]:
    """95 % interval of an accuracy drop, from the numbers of samples that one change made wrong and
    made right.

    The drops that Tango's score test for paired fractions (Statistics in Medicine 17, 1998) does
    not reject: ``|lost - gained - n drop| <= 1.96 sqrt(n (2 q + drop (1 - drop)))``, q being the
    likeliest share gained given the drop. Most neurons flip a few images or none, of which a
    bootstrap would make an interval of length 0; this one says how rare a flip may be and yet not
    be seen.

    Examples:
        Nothing flipped in 1,000 images, and 30 lost against 10 gained:

        >>> low, high = drop_interval(torch.tensor([0, 30]), torch.tensor([0, 10]), 1000)
        >>> low.round(decimals=4), high.round(decimals=4)
        (tensor([-0.0038,  0.0080], dtype=torch.float64), tensor([0.0038, 0.0336], dtype=torch.float64))
    """
    found = (lost - gained).double() / samples
    return (
        _limit(lost, gained, samples, -torch.ones_like(found), found, NORMAL_975),
        _limit(lost, gained, samples, found, torch.ones_like(found), -NORMAL_975),
    )


def _limit(
    lost: Int64[Tensor, "*cell"],
    gained: Int64[Tensor, "*cell"],
    samples: int,
    low: Float[Tensor, "*cell"],
    high: Float[Tensor, "*cell"],
    z: float,
) -> Float[Tensor, "*cell"]:
    """The drop between `low` and `high` at which the score statistic, which falls as the drop
    grows, is z.
    """
    for _ in range(_HALVINGS):
        drop = (low + high) / 2
        b = (2 * samples - lost + gained) * drop - lost - gained
        c = -gained * drop * (1 - drop)
        q = ((b.square() - 8 * samples * c).clamp(min=0).sqrt() - b) / (4 * samples)
        deviation = (samples * (2 * q + drop * (1 - drop))).clamp(min=0).sqrt()
        below = lost - gained - samples * drop > z * deviation
        low, high = torch.where(below, drop, low), torch.where(below, high, drop)
    return (low + high) / 2
