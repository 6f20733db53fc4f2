"""A run: from the names of models and data sets to a folder of tables, figures and a manifest."""

from purescope.runs._folder import Tables, is_run, note_identities
from purescope.runs._inputs import (
    Settings,
    Sources,
    check_words,
    features_of,
    name_of,
    named_dataset,
    named_model,
    named_or_behind,
    open_data,
    open_model,
)
from purescope.runs._run import run, run_sweep
from purescope.runs._study import Opened, Study, measured, projections_of

__all__ = [
    "Opened",
    "Settings",
    "Sources",
    "Study",
    "Tables",
    "check_words",
    "features_of",
    "is_run",
    "measured",
    "name_of",
    "named_dataset",
    "named_model",
    "named_or_behind",
    "note_identities",
    "open_data",
    "open_model",
    "projections_of",
    "run",
    "run_sweep",
]
