"""A run: from the names of models and data sets to a folder of tables, figures and a manifest."""
