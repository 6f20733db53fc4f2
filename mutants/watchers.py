"""Which tests could notice a change: for each module, the files of tests that look at it.

A row is a module or a folder of modules; the longest that fits is a file's. To the tests named here
come the examples in the changed file itself. Change a row when assertions move to another file:
`tests/mutants` checks that all are there.
"""

_TABLES = ("tests/tables/test_files.py", "tests/tables/test_schema.py")
_CACHE = ("tests/features/test_cache.py", "tests/features/test_extract.py")
_FILES = (
    "tests/features/test_features.py",
    "tests/features/test_files.py",
    "tests/features/test_hostile_files.py",
)
_READERS = (
    "tests/datasets/test_manifest.py",
    "tests/datasets/test_folder.py",
    "tests/datasets/test_webdataset.py",
    "tests/datasets/test_hostile_data.py",
)
_CAPTIONS = (
    "tests/datasets/captions/test_formats.py",
    "tests/datasets/captions/test_captions.py",
)

TESTS: dict[str, tuple[str, ...]] = {
    "maths/overlaps.py": ("tests/maths/test_overlaps.py", "tests/maths/test_measures.py"),
    "specs.py": (
        "tests/test_specs.py",
        "tests/cli/test_paths.py",
        "tests/datasets/test_load_dataset.py",
    ),
    "maths/measures.py": ("tests/maths/test_measures.py", "tests/maths/test_layer_measures.py"),
    "maths/layer_measures.py": (
        "tests/maths/test_layer_measures.py",
        "tests/studies/test_layers_gram.py",
    ),
    "maths/scores.py": ("tests/maths/test_strategies.py", "tests/maths/test_scores.py"),
    "maths/strategies.py": ("tests/maths/test_strategies.py",),
    "maths/bases.py": ("tests/maths/test_bases.py",),
    "maths/": (
        "tests/maths/test_accuracy.py",
        "tests/maths/test_cells.py",
        "tests/maths/test_cells_curves.py",
        "tests/maths/test_leave_one_out.py",
    ),
    "maths/silhouette.py": (
        "tests/maths/test_accuracy.py",
        "tests/maths/test_silhouette.py",
        "tests/maths/test_cells.py",
    ),
    "maths/intervals.py": ("tests/maths/test_intervals.py", "tests/maths/test_coverage.py"),
    "maths/significance.py": ("tests/maths/test_significance.py",),
    "studies/settings.py": ("tests/studies/test_sweeps.py",),
    "studies/sweeps.py": ("tests/studies/test_sweeps.py",),
    "studies/bench.py": (
        "tests/studies/test_bench.py",
        "tests/studies/test_sweeps.py",
        "tests/studies/test_nulls.py",
    ),
    "studies/judging.py": (
        "tests/studies/test_judging.py",
        "tests/studies/test_judging_standings.py",
    ),
    "studies/nulls.py": (
        "tests/studies/test_nulls.py",
        "tests/studies/test_nulls_attribution.py",
    ),
    "studies/comparisons.py": (
        "tests/studies/test_comparisons.py",
        "tests/studies/test_comparisons_models.py",
    ),
    "studies/sanity.py": (
        "tests/studies/test_sanity.py",
        "tests/studies/test_sanity_variants.py",
        "tests/studies/test_neurons_portrait.py",
    ),
    "tables/files.py": _TABLES,
    "tables/result_table.py": (
        "tests/tables/test_result_table.py",
        *_TABLES,
        "tests/test_formats.py",
        "tests/studies/test_judging_standings.py",
    ),
    "tables/schema.py": _TABLES,
    "tables/columns.py": _TABLES,
    "tables/schemas.py": _TABLES,
    "tables/verdicts.py": (
        "tests/studies/test_judging.py",
        "tests/studies/test_judging_standings.py",
    ),
    "files/writing.py": ("tests/files/test_writing.py", *_TABLES, "tests/runs/test_folder.py"),
    "files/manifest.py": (
        "tests/files/test_manifest.py",
        "tests/tables/test_files.py",
        "tests/runs/test_folder.py",
    ),
    "files/npz.py": ("tests/files/test_npz.py", *_FILES, "tests/studies/test_neurons.py"),
    "features/features.py": _FILES,
    "features/cache.py": _CACHE,
    "features/entry.py": _CACHE,
    "features/files.py": _FILES,
    "features/metadata.py": (*_FILES, "tests/features/test_caption_files.py"),
    "features/captions.py": ("tests/features/test_captions.py",),
    "features/caption_files.py": ("tests/features/test_caption_files.py",),
    "features/clip_retrieval.py": ("tests/features/test_caption_files.py",),
    "datasets/captions/": _CAPTIONS,
    "datasets/manifest.py": _READERS,
    "datasets/tables.py": ("tests/datasets/test_tables.py", *_READERS),
    "datasets/folder.py": _READERS,
    "datasets/archives.py": ("tests/datasets/test_archives.py", *_READERS),
    "models/checkpoint.py": (
        "tests/models/test_checkpoint.py",
        "tests/models/test_architectures_by_shapes.py",
    ),
    "models/open_clip.py": ("tests/models/test_open_clip.py",),
    "models/weights.py": ("tests/models/test_weights.py", "tests/models/test_checkpoint.py"),
}


def module_of(file: str) -> str | None:
    """Return the row of a source file below the package; None where no row is its."""
    rows = (row for row in TESTS if file == row or (row.endswith("/") and file.startswith(row)))
    return max(rows, key=len, default=None)
