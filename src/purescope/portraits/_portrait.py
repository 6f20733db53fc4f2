"""The neurons and classes of one model on one data set."""

from dataclasses import replace

import pandas as pd

from purescope.datasets.names import told_apart
from purescope.importance import importance_tables
from purescope.maths.overlaps import Projections
from purescope.portraits._confusions import confusion_table
from purescope.portraits._examples import example_table
from purescope.portraits._orders import order_table
from purescope.portraits._words import word_table
from purescope.sweep import Measured
from purescope.tables.files import check_table
from purescope.tables.schemas import CLASS_IMPORTANCE, CONFUSIONS, EXAMPLES, IMPORTANCE, ORDERS, WORDS

PORTRAIT = (IMPORTANCE, CLASS_IMPORTANCE, CONFUSIONS, EXAMPLES, WORDS, ORDERS)
"""What `portrait` gives."""


def portrait(measured: Measured, projections: Projections | None) -> dict[str, pd.DataFrame]:
    """What a sweep was made of, neuron by neuron and class by class.

    Args:
        measured: the sweep of a model on a data set; its ablation and seed are those of the importance too.
        projections: of the model; None for one without.

    Returns:
        The tables `PORTRAIT` by name, see `purescope.tables.schemas`. Classes of one name are told apart by a number.

    Raises:
        InputError: the projections are of another number of neurons.
    """
    features = replace(measured.features, classes=told_apart(measured.features.classes))
    measured, options = replace(measured, features=features), measured.options
    importance, of_classes = importance_tables(features, projections, ablation=options.ablation, seed=options.seed)
    changed = of_classes.recall_drop.notna() & (of_classes.recall_drop != 0)
    return {
        "importance": check_table(importance.reindex(columns=list(IMPORTANCE.columns)), IMPORTANCE),
        "class_importance": check_table(of_classes[changed], CLASS_IMPORTANCE),
        "confusions": confusion_table(measured, projections),
        "examples": example_table(features),
        "words": word_table(features.text, features.classes, model=features.model, dataset=features.dataset),
        "orders": order_table(measured, projections),
    }
