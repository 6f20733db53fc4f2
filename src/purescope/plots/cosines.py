"""The cosines of a tower's neurons as a heat map, the purest first."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from purescope.errors import InputError
from purescope.plots.axes import heading, new_axes, small_ticks, wrap_labels
from purescope.plots.style import AXIS, COLOUR_MAP, current
from purescope.tables.cosines import check_cosines, colour_limit


def plot_cosines(
    cosines: ArrayLike,
    *,
    order: ArrayLike,
    tower: str = "",
    model: str = "",
    limit: float | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Absolute cosine of each neuron with each other one, the neurons in their order by purity.

    Colours run from 0 to the 99 % quantile of the cosines or to `limit`; how many lie above, and
    all have the darkest colour, stands at the bar. The diagonal, a neuron with itself, is left out.

    Args:
        cosines: ``[neuron, neuron]``, in the neurons' own numbering, as in a run's
            ``cosines_LABEL.npz``.
        order: the neurons, purest first.
        tower: its name, ``image`` or ``text``, for the title.
        model: its label, likewise.
        limit: the cosine of the darkest colour, to draw several on one scale; see `colour_limit`.
        bar: whether to draw the colour bar.
        ax: where to draw; a new figure without it.

    Returns:
        The axes, the purest neuron at the top left.

    Raises:
        InputError: the cosines are no square matrix of finite numbers, the order is none of its
            neurons, or `limit` is not above 0.

    Examples:
        The second and third purest enclose 45 degrees, the purest is orthogonal to both:

        >>> import torch, purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.maths.overlaps import cosine_gram
        >>> weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        >>> order = ps.order_neurons(ps.Projections(weights, weights))
        >>> panel = Figure().subplots()
        >>> plot_cosines(cosine_gram(weights), order=order, tower="image", ax=panel) is panel
        True
        >>> panel.images[0].get_array().filled(np.nan).round(3)
        array([[  nan, 0.   , 0.   ],
               [0.   ,   nan, 0.707],
               [0.   , 0.707,   nan]], dtype=float32)
    """
    matrix = check_cosines(cosines)
    places = np.asarray(order)
    if places.shape != (len(matrix),) or not np.array_equal(
        np.sort(places), np.arange(len(matrix))
    ):
        raise InputError(
            f"an order of shape {list(places.shape)} for {len(matrix)} neurons",
            expected=f"each of 0 to {len(matrix) - 1} once",
        )
    limit = colour_limit(matrix) if limit is None else limit
    if not limit > 0:
        raise InputError(f"limit = {limit}", expected="a cosine above 0")
    ax = new_axes() if ax is None else ax
    others = ~np.eye(len(matrix), dtype=bool)
    shown = np.ma.masked_array(matrix[np.ix_(places, places)], ~others)
    above = float((matrix[others] > limit).mean()) if len(matrix) > 1 else 0.0
    ends = (0.5, len(matrix) + 0.5, len(matrix) + 0.5, 0.5)
    image = ax.imshow(shown, cmap=COLOUR_MAP, vmin=0, vmax=limit, extent=ends)
    if bar:
        beside = ax.inset_axes(
            (1.03, 0.0, 0.045, 1.0)
        )  # as tall as the map, whatever the figure's shape
        colours = ax.figure.colorbar(image, cax=beside, extend="max" if above else "neither")
        colours.set_label(
            f"|cosine|; {100 * above:.1f} % are above {limit:.2g}" if above else "|cosine|"
        )
        colours.outline.set_visible(False)
        small_ticks(colours.ax)
    named = f"{tower} tower" if tower else ""
    heading(ax, ", ".join(part for part in (model, named) if part))
    ax.set(xlabel="Neuron by purity (1 = purest)", ylabel="Neuron by purity")
    last = len(matrix)
    ticks = (
        [1, *range(step := max(1, round(last / 4)), last - step // 2, step), last]
        if last > 1
        else [1]
    )
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.spines[:].set(color=AXIS, linewidth=0.8 * current().line)
    small_ticks(ax)
    wrap_labels(ax)
    return ax
