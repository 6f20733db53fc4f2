"""Figures of the tables: table in, matplotlib `Axes` out.

Nothing is measured here: rows are picked, sorted, subtracted and, over the random draws, summarised by quantiles.
Figures are plain `matplotlib.figure.Figure` objects, never pyplot's, so they need no display, are freed with their last
reference and are saved with ``plot_accuracy(table).figure.savefig("accuracy.png")``.
"""

from purescope.looks import PALETTE
from purescope.plots._cosines import colour_limit, plot_cosines
from purescope.plots._curves import plot_accuracy, plot_gap, plot_silhouette
from purescope.plots._dynamics import plot_dynamics
from purescope.plots._experiment import plot_pruning, plot_pruning_gap, plot_published
from purescope.plots._folder import Drawn, draw_folder
from purescope.plots._importance import plot_importance
from purescope.plots._layers import plot_layers
from purescope.plots._overlap import plot_overlap
from purescope.plots._save import FORMATS, save_figure
from purescope.plots._style import COLOUR_MAP, VENUES, Style, style
from purescope.plots._write import write_dynamics, write_figures

__all__ = [
    "COLOUR_MAP",
    "FORMATS",
    "PALETTE",
    "VENUES",
    "Drawn",
    "Style",
    "colour_limit",
    "draw_folder",
    "plot_accuracy",
    "plot_cosines",
    "plot_dynamics",
    "plot_gap",
    "plot_importance",
    "plot_layers",
    "plot_overlap",
    "plot_pruning",
    "plot_pruning_gap",
    "plot_published",
    "plot_silhouette",
    "save_figure",
    "style",
    "write_dynamics",
    "write_figures",
]
