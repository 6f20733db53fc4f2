"""Run experiments: from names of models and datasets to a folder of results."""
