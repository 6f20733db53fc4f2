"""Figures of the tables: table in, matplotlib `Axes` out.

Nothing is measured here: rows are picked, sorted, subtracted and, over the random draws, summarised
by quantiles. Figures are plain `matplotlib.figure.Figure` objects, never pyplot's, so they need no
display, are freed with their last reference and are saved with
``plot_accuracy(table).figure.savefig("accuracy.png")``.
"""
