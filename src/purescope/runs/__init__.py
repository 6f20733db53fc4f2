"""A run: from the names of models and data sets to a folder of tables, figures and a manifest."""

from purescope.runs._folder import Tables
from purescope.runs._inputs import (
    Settings,
    Sources,
    check_words,
    features_of,
    named_dataset,
    named_model,
    open_data,
    open_model,
)
from purescope.runs._run import measured, run, run_sweep, sweep_tables

__all__ = [
    "Settings",
    "Sources",
    "Tables",
    "check_words",
    "features_of",
    "measured",
    "named_dataset",
    "named_model",
    "open_data",
    "open_model",
    "run",
    "run_sweep",
    "sweep_tables",
]
