"""Which tests could notice a change: for each module, the files of tests that look at it.

A row is a module or a folder of modules; the longest that fits is a file's. To the tests named here come the examples
in the changed file itself. Change a row when assertions move to another file: `tests/mutants` checks that all are
there.
"""

_TABLES = ("tests/test_tables.py", "tests/test_columns.py")
_CACHE = ("tests/features/test_cache.py", "tests/features/test_extract.py")
_FILES = ("tests/features/test_features.py", "tests/features/test_files.py", "tests/features/test_hostile_files.py")
_READERS = (
    "tests/datasets/test_manifest.py",
    "tests/datasets/test_folder.py",
    "tests/datasets/test_webdataset.py",
    "tests/datasets/test_hostile_data.py",
)

TESTS: dict[str, tuple[str, ...]] = {
    "purity.py": ("tests/test_purity.py", "tests/test_measures.py"),
    "keep.py": ("tests/test_ordering.py", "tests/test_sweep.py"),
    "measures/": ("tests/test_measures.py", "tests/layers/test_measures.py"),
    "ordering/": ("tests/test_ordering.py",),
    "bases.py": ("tests/test_bases.py",),
    "evaluation/": ("tests/test_evaluation.py", "tests/test_ablation.py", "tests/test_leave_out.py"),
    "evaluation/_silhouette.py": ("tests/test_evaluation.py", "tests/test_silhouette_spread.py"),
    "statistics/": (
        "tests/statistics/test_bootstrap.py",
        "tests/statistics/test_correlation.py",
        "tests/statistics/test_curves.py",
        "tests/statistics/test_mcnemar.py",
        "tests/statistics/test_multiplicity.py",
        "tests/statistics/test_permutation.py",
        "tests/statistics/test_wilson.py",
        "tests/statistics/test_coverage.py",
    ),
    "sweep.py": ("tests/test_sweep.py",),
    "evaluator.py": ("tests/test_sweep.py",),
    "attribution.py": ("tests/test_attribution.py",),
    "leaderboard.py": ("tests/test_leaderboard.py",),
    "verdict.py": ("tests/test_verdict.py",),
    "nulls.py": ("tests/test_nulls.py",),
    "comparison.py": ("tests/test_comparison.py",),
    "tables.py": _TABLES,
    "columns.py": _TABLES,
    "schemas.py": _TABLES,
    "manifest.py": ("tests/test_tables.py", "tests/test_folders.py"),
    "features/features.py": _FILES,
    "features/cache.py": _CACHE,
    "features/_entry.py": _CACHE,
    "features/_complete.py": _CACHE,
    "features/_own_files.py": _CACHE,
    "features/_files.py": _FILES,
    "npz.py": _FILES,
    "features/_metadata.py": _FILES,
    "datasets/_manifest.py": _READERS,
    "datasets/_tables.py": _READERS,
    "datasets/_folder.py": _READERS,
    "datasets/_walk.py": _READERS,
    "datasets/_tar.py": _READERS,
    "models/_checkpoint.py": ("tests/models/test_checkpoint.py", "tests/models/test_clip_layout.py"),
    "models/_projection.py": ("tests/models/test_open_clip.py",),
}


def module_of(file: str) -> str | None:
    """Return the row of a source file below the package; None where no row is its."""
    rows = (row for row in TESTS if file == row or (row.endswith("/") and file.startswith(row)))
    return max(rows, key=len, default=None)
