"""Pure maths on tensors: no files, no models, no data frames.

Neurons are rows of projections, or columns of features. Cells (strategies, k, draws) stand in front
and samples, k or items last; resamples and draws stand before the cells. A cell with a NaN in it
gives NaN and leaves the other cells alone.
"""
