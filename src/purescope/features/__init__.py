"""Features: what a model makes of a data set, encoded once; every measurement starts from them."""
