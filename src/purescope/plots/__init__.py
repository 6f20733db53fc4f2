"""Draw figures of tables with matplotlib: a table in, `Axes` out.

The plots measure nothing. They select, sort and subtract rows, and summarise random draws by
quantiles. Figures are plain `matplotlib.figure.Figure` objects, not pyplot's: they need no display,
and memory is freed with the last reference. Save one with
``plot_accuracy(table).figure.savefig("accuracy.png")``.
"""
