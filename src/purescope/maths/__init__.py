"""Pure maths on tensors: no files, no models, no data frames.

Neurons are the rows of projections and the columns of features. In results, the dimensions of the
cells (strategies, k, draws) come first, and samples, k or items come last. Resamples and draws come
before the cells. A cell with a NaN in it gives NaN and does not affect the other cells.
"""
