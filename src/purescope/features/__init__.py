"""Features: what a model makes of a data set, encoded once; every measurement starts from them."""

from purescope.features._extract import Progress, extract, quiet, text_features
from purescope.features._files import read_features, save_features
from purescope.features.cache import Cache
from purescope.features.features import Features

__all__ = ["Cache", "Features", "Progress", "extract", "quiet", "read_features", "save_features", "text_features"]
