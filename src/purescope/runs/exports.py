"""Write a smaller model by name, in the forms of several libraries."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from purescope.datasets.dataset import Dataset
from purescope.errors import InputError, ModelError, near_miss
from purescope.features.extraction import Progress, quiet
from purescope.features.features import Features
from purescope.files.writing import refuse_existing
from purescope.maths.bases import is_basis
from purescope.maths.overlaps import Projections
from purescope.maths.strategies import STRATEGIES, order_neurons
from purescope.models.towers import Towers
from purescope.reduce.forms.card import model_card
from purescope.reduce.forms.table import FORMS, Smaller, default_forms, parse_forms, write_form
from purescope.reduce.forms.writing import new_folder
from purescope.reduce.orders import order_rotation, read_order
from purescope.reduce.rotation import Rotation, read_rotation
from purescope.runs.cards import describe_origin, read_numbers, suggest_sweep
from purescope.runs.inputs import Sources
from purescope.runs.rotations import Fit, fit_axes, open_towers
from purescope.specs import to_folder, to_path

_log = logging.getLogger("purescope")


def export(
    model: str,
    *,
    keep: int,
    out: str | Path,
    to: str | Iterable[str] = (),
    axes: str | None = None,
    order: str | Path | Sequence[int] | None = None,
    rotation: str | Path | Rotation | None = None,
    data: Sequence[str | Dataset | Features] = (),
    fit_on: float = 1.0,
    seed: int = 0,
    results: str | Path | None = None,
    sources: Sources | None = None,
    progress: Progress = quiet,
) -> dict[str, Path]:
    """Write a model whose embedding has fewer dimensions, in the forms of several libraries.

    The last weights of both towers are multiplied by the axes that are kept, so the model itself
    makes the smaller embedding. Each form is loaded again by its own library, or by purescope, and
    compared with the model before the folder appears. A README.md in each is its model card.

    Args:
        model: its name, as in `purescope.load_model`.
        keep: the number of dimensions to keep, at most those of the model.
        out: the folder, which does not exist or is empty; each form is a folder in it.
        to: forms: ``open_clip``, ``transformers``, ``sentence-transformers``, ``onnx``,
            ``purescope`` (of LaCLIP checkpoints, which no other library holds) and ``rotation``
            (the axes, for embeddings that exist already). By default the model's own form and
            ``rotation``.
        axes: the axes that are kept, as in `purescope.rebase`; ``svd`` by default.
        order: neurons to keep instead, the first kept first: their numbers, a file of them (.csv
            with a column neuron, .json, .txt, .npy), or a strategy such as ``high_purity``.
        rotation: a rotation of `purescope.rebase` to take the first axes of.
        data, fit_on, seed, sources, progress: as in `purescope.rebase`.
        results: the folder of a sweep of this model with ``renormalise``, whose numbers for these
            axes, or for this strategy, and this `keep` go into the model cards.

    Returns:
        The folder of each form.

    Raises:
        ModelError: the model cannot be loaded, or a form cannot hold it.
        InputError: `keep` is out of range, or the axes cannot be found.
        OutputError: the folder is not empty, or cannot be written.
        MissingExtraError: a form needs a library that is not installed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     folders = export("bundled:clip", keep=32, to="rotation", out=Path(folder, "small"))
        >>> [(form, path.name) for form, path in folders.items()]
        [('rotation', 'rotation')]
    """
    folder = to_folder(out).resolve()
    refuse_existing(folder)
    names = parse_forms(to) if to else ()
    choice = _check_choice(axes, order, rotation, data)
    sources = sources or Sources()
    towers, label = open_towers(model, sources)
    if not 1 <= keep <= towers.neurons:
        raise InputError(
            f"{keep:,} dimensions to keep",
            expected=f"1 to {towers.neurons:,}, the dimensions of {label}",
        )
    names = names or default_forms(towers)
    for name in names:
        FORMS[name].require(towers, keep)
    if choice == "order" and order is not None:
        found = _find_order(order, towers, label)
    elif choice == "rotation" and rotation is not None:
        found = _check_origin(rotation, towers, label)
    else:
        fit = Fit(axes or "svd", data, fit_on, seed)
        found = fit_axes(model, label, towers, fit, sources, progress)
    smaller = Smaller(towers, found.keep(keep))
    numbers = [] if results is None else read_numbers(Path(results), towers, smaller.rotation)
    origin = describe_origin(model, label, smaller, names)
    measured_by = suggest_sweep(model, smaller.rotation)
    with new_folder(folder) as partial:
        for name in names:
            _log.info("writing and checking the form %s", name)
            (partial / name).mkdir()
            write_form(name, smaller, partial / name)
            card = model_card(name, origin, numbers=numbers, measured_by=measured_by)
            (partial / name / "README.md").write_text(card, encoding="utf-8")
    return {name: folder / name for name in names}


def _check_choice(axes: object, order: object, rotation: object, data: Sequence[object]) -> str:
    """Return which of the ways to choose dimensions is asked for.

    Raises:
        InputError: several exclude each other, or the axes are unknown.
    """
    given = [
        name
        for name, value in (("axes", axes), ("order", order), ("rotation", rotation))
        if value is not None
    ]
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(f'--{name}' for name in given)}",
            expected="one way to choose the dimensions that are kept",
        )
    choice = given[0] if given else "axes"
    if data and choice != "axes":
        raise InputError(
            f"--data with --{choice}",
            expected="data to fit axes to",
            fix=f"leave out --data, or --{choice}",
        )
    if isinstance(axes, str) and not is_basis(axes):
        if axes in STRATEGIES:
            raise InputError(
                f"unknown axes {axes!r}", expected="axes, not neurons", fix=f"--order {axes}"
            )
        raise InputError(
            f"unknown axes {axes!r}",
            expected="svd, cross, pca or random_rotation, or a band of one, such as svd@8",
        )
    return choice


def _find_order(order: str | Path | Sequence[int], towers: Towers, label: str) -> Rotation:
    """Return the rotation to the neurons of an order.

    Raises:
        InputError: it is no order of this model's neurons.
        ModelError: the strategy needs weights that the model does not have.
    """
    weights = towers.weight_space if isinstance(towers.weight_space, Projections) else None
    recipe = {"model": label, "model_weights": towers.identity["weights"]}
    if isinstance(order, str) and order in STRATEGIES:
        if weights is None:
            raise ModelError(
                f"{label}: {towers.weight_space}",
                expected="weights at the end of both towers, to order neurons by",
                fix="give a file: --order FILE",
            )
        if STRATEGIES[order].needs != "weights":
            raise InputError(
                f"the order {order!r}, which needs {STRATEGIES[order].needs} of data",
                expected="a file, or a strategy that needs weights only",
                fix="write the neurons into a file, first kept first: --order FILE",
            )
        numbers = order_neurons(weights, order).tolist()
        recipe |= {"order": order, "fitted_on": "weights"}
    elif isinstance(order, str | Path):
        path = to_path(order)
        if not path.suffix and not path.exists():
            raise InputError(f"unknown order {str(order)!r}", **near_miss(str(order), STRATEGIES))
        numbers = read_order(path)
        recipe |= {"order": path.name}
    else:
        numbers = list(order)
        recipe |= {"order": "numbers of neurons"}
    return order_rotation(numbers, towers.neurons, weights, recipe=recipe)


def _check_origin(rotation: str | Path | Rotation, towers: Towers, label: str) -> Rotation:
    """Read a rotation, and refuse that of another model, as far as it says.

    Raises:
        InputError: it has another number of neurons, or was fitted to another model.
    """
    where = "the rotation"
    if not isinstance(rotation, Rotation):
        where = os.fspath(rotation)
        rotation = read_rotation(rotation)
    made_of = rotation.recipe.get("model_weights", towers.identity["weights"])
    if rotation.neurons != towers.neurons or made_of != towers.identity["weights"]:
        name = rotation.recipe.get("model", "another model")
        raise InputError(
            f"{where} is of {name}, with {rotation.neurons:,} neurons and other weights",
            expected=f"a rotation of {label}, with {towers.neurons:,} neurons",
            fix="leave out --rotation, or fit one: purescope rebase MODEL",
        )
    return rotation
