"""Features: a dataset encoded by a model, once; every measurement starts from them."""
