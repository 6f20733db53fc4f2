"""Which tests could notice a change: for each module, the files of tests that look at it.

A row is a module or a folder of modules; the longest that fits is a file's. To the tests named here
come the examples in the changed file itself. Change a row when assertions move to another file:
`tests/mutants` checks that all are there, and that no module of what is measured, kept or read is
without a row.
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
    "tests/datasets/captions/test_listing.py",
    "tests/datasets/captions/test_captions.py",
)

_RETRIEVAL = ("tests/studies/test_retrieval.py", "tests/studies/test_retrieval_tables.py")
_LAYERS = ("tests/studies/test_layers_gram.py", "tests/studies/test_layers.py")
_TRAINING = (
    "tests/studies/training/test_checkpoints.py",
    "tests/studies/training/test_tracker.py",
    "tests/studies/training/test_tracking.py",
)
_SHRINKING = (
    "tests/reduce/test_shrinking.py",
    "tests/reduce/test_shrinking_places.py",
    "tests/reduce/test_collections_kept.py",
    "tests/reduce/test_collections_read.py",
)
_SEARCHING = ("tests/reduce/test_index_worker.py", "tests/reduce/test_searching.py")
_HUB = ("tests/datasets/test_huggingface.py", "tests/datasets/test_hub_folders.py")
_TOKENS = (
    "tests/models/test_tokenizer.py",
    "tests/models/test_tokenizers_twin.py",
    "tests/models/test_configuration_kinds.py",
    "tests/models/test_configuration.py",
)
_TOKEN_FILES = (
    "tests/models/test_transformers.py",
    "tests/models/test_hub.py",
    "tests/models/test_sizes.py",
    "tests/models/test_convert.py",
)
_CONFIGURATION = ("tests/models/test_configuration.py", "tests/models/test_transformers.py")

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
    "models/open_clip.py": ("tests/models/test_open_clip.py", "tests/models/test_sentences.py"),
    "models/weights.py": ("tests/models/test_weights.py", "tests/models/test_checkpoint.py"),
    # --- what has no row of its own
    "studies/": ("tests/studies/test_sweeps.py", *_RETRIEVAL, "tests/studies/test_comparisons.py"),
    "tables/": _TABLES,
    "files/": ("tests/files/test_reading.py", "tests/files/test_writing.py"),
    "features/": ("tests/features/test_extract.py", *_CACHE),
    "datasets/": _READERS,
    "models/": ("tests/models/test_load_model.py",),
    "reduce/": ("tests/reduce/test_choosing.py", *_SHRINKING),
    # --- retrieval, neighbours and a probe
    "maths/counting.py": ("tests/maths/test_retrieval.py",),
    "maths/screening.py": ("tests/maths/test_retrieval.py",),
    "maths/retrieval.py": ("tests/maths/test_retrieval.py", "tests/studies/test_retrieval.py"),
    "maths/per_image.py": ("tests/maths/test_retrieval.py", "tests/maths/test_neighbours.py"),
    "maths/neighbours.py": ("tests/maths/test_neighbours.py",),
    "maths/probe.py": ("tests/maths/test_probe.py",),
    "maths/shares.py": ("tests/maths/test_shares.py", "tests/studies/test_shares.py"),
    # --- studies
    "studies/retrieval.py": _RETRIEVAL,
    "studies/retrieval_tables.py": _RETRIEVAL,
    "studies/curve_numbers.py": (
        "tests/studies/test_retrieval_tables.py",
        "tests/studies/test_comparisons.py",
    ),
    "studies/image_search.py": ("tests/studies/test_image_search.py",),
    "studies/importance.py": (
        "tests/studies/test_importance.py",
        "tests/studies/test_neurons_portrait.py",
    ),
    "studies/layers.py": _LAYERS,
    "studies/neurons.py": (
        "tests/studies/test_neurons.py",
        "tests/studies/test_neurons_portrait.py",
    ),
    "studies/orders.py": (
        "tests/studies/test_bench.py",
        "tests/studies/test_retrieval.py",
        "tests/studies/test_sweeps.py",
    ),
    "studies/shares.py": (
        "tests/studies/test_shares.py",
        "tests/studies/test_shares_of_captions.py",
        *_RETRIEVAL,
    ),
    "studies/spectra.py": ("tests/studies/test_spectra.py",),
    "studies/summed.py": (*_RETRIEVAL, "tests/studies/test_image_search.py"),
    "studies/swept.py": (
        *_RETRIEVAL,
        "tests/studies/test_sweeps.py",
        "tests/studies/test_comparisons.py",
    ),
    "studies/synthetic.py": ("tests/studies/test_worlds.py", "tests/studies/test_synthetic.py"),
    "studies/towers.py": _LAYERS,
    "studies/training/": _TRAINING,
    # --- tables
    "tables/metrics.py": (*_RETRIEVAL, "tests/tables/test_schema.py"),
    "tables/published.py": ("tests/runs/test_reproduction.py",),
    "tables/results.py": ("tests/tables/test_results.py", "tests/tables/test_files.py"),
    "tables/retrieval.py": (*_RETRIEVAL, "tests/tables/test_schema.py"),
    "tables/searches.py": (
        "tests/tables/test_searches.py",
        *_SEARCHING,
        "tests/tables/test_schema.py",
    ),
    "tables/shares.py": ("tests/studies/test_shares.py", "tests/tables/test_schema.py"),
    # --- files
    "files/reading.py": (
        "tests/files/test_reading.py",
        "tests/files/test_npz.py",
        "tests/datasets/test_archives.py",
        "tests/datasets/test_pointers.py",
        "tests/datasets/test_hostile_data.py",
        "tests/features/test_hostile_files.py",
        "tests/tables/test_files.py",
    ),
    "files/guard.py": ("tests/files/test_guard.py",),
    "files/resuming.py": ("tests/reduce/test_going_on.py",),
    "files/hub.py": ("tests/models/test_hub.py",),
    "compiling.py": ("tests/test_compiling.py",),
    "parallel.py": (
        "tests/test_parallel.py",
        "tests/reduce/test_rows.py",
        "tests/maths/test_accuracy.py",
    ),
    # --- features and datasets
    "features/caption_sources.py": (
        "tests/features/test_captions.py",
        "tests/features/test_caption_files.py",
    ),
    "features/encoding.py": ("tests/features/test_encoding.py", "tests/features/test_extract.py"),
    "features/extraction.py": ("tests/features/test_extract.py", *_CACHE),
    "datasets/__init__.py": ("tests/datasets/test_load_dataset.py", *_READERS),
    "datasets/bundled.py": ("tests/datasets/test_bundled.py",),
    "datasets/dataset.py": ("tests/datasets/test_dataset.py", *_READERS),
    "datasets/decoding.py": (
        "tests/datasets/test_decoding.py",
        "tests/datasets/test_colours.py",
        *_READERS,
    ),
    "datasets/images.py": (
        "tests/datasets/test_dataset.py",
        "tests/datasets/test_colours.py",
        "tests/datasets/test_torchvision.py",
        *_READERS,
    ),
    "datasets/hub_folders.py": _HUB,
    "datasets/hub_tables.py": _HUB,
    "datasets/huggingface.py": _HUB,
    "datasets/prompts.py": (
        "tests/datasets/test_prompts.py",
        "tests/datasets/test_load_dataset.py",
    ),
    "datasets/torchvision.py": ("tests/datasets/test_torchvision.py",),
    "datasets/webdataset.py": ("tests/datasets/test_webdataset.py", *_READERS),
    # --- models
    "models/__init__.py": ("tests/models/test_load_model.py", "tests/models/test_hub.py"),
    "models/architectures.py": (
        "tests/models/test_known_sizes.py",
        "tests/models/test_architectures.py",
        "tests/models/test_architectures_by_shapes.py",
    ),
    "models/configuration.py": ("tests/models/test_configuration_kinds.py", *_CONFIGURATION),
    "models/convert.py": ("tests/models/test_convert.py",),
    "models/laclip.py": ("tests/models/test_laclip.py", "tests/models/test_sentences.py"),
    "models/last_maps.py": ("tests/reduce/forms/test_table.py", "tests/reduce/test_cutting.py"),
    "models/model.py": ("tests/models/test_model.py", "tests/models/test_transformers.py"),
    "models/open_clip_config.py": (
        "tests/models/test_known_sizes.py",
        "tests/models/test_configuration_kinds.py",
        "tests/models/test_configuration.py",
        "tests/models/test_open_clip.py",
    ),
    "models/pickles.py": (
        "tests/models/test_pickles.py",
        "tests/models/test_pickles_torchscript.py",
        "tests/models/test_checkpoint.py",
    ),
    "models/sentences.py": ("tests/models/test_sentences.py",),
    "models/sources.py": ("tests/models/test_hub.py", "tests/models/test_load_model.py"),
    "models/tokenizer.py": _TOKENS,
    "models/tokenizer_files.py": (*_TOKENS, *_TOKEN_FILES),
    "models/tokenizer_twins.py": _TOKENS,
    "models/tokenizers.py": (*_TOKENS, *_TOKEN_FILES),
    "models/towers.py": (
        "tests/models/test_precision.py",
        "tests/reduce/test_cutting.py",
        "tests/reduce/forms/test_table.py",
        "tests/models/test_open_clip.py",
    ),
    "models/transformers.py": (*_CONFIGURATION, "tests/models/test_sentences.py"),
    "models/transformers_config.py": ("tests/models/test_processors.py", *_CONFIGURATION),
    # --- smaller models, collections and indexes
    "reduce/axes.py": ("tests/reduce/test_axes.py", "tests/reduce/test_rotation.py"),
    "reduce/choosing.py": ("tests/reduce/test_choosing.py", "tests/runs/test_captions.py"),
    "reduce/codes.py": ("tests/reduce/test_codes.py",),
    "reduce/codewords.py": ("tests/reduce/test_codewords.py", *_SEARCHING),
    "reduce/coding.py": ("tests/reduce/test_coding.py", *_SEARCHING),
    "reduce/collections/": _SHRINKING,
    "reduce/commands.py": ("tests/reduce/test_commands.py",),
    "reduce/cutting.py": ("tests/reduce/test_cutting.py",),
    "reduce/fitting.py": ("tests/reduce/test_fitting.py",),
    "reduce/forms/": (
        "tests/reduce/forms/test_table.py",
        "tests/reduce/forms/test_transformers.py",
        "tests/reduce/forms/test_open_clip.py",
    ),
    "reduce/forms/card.py": (
        "tests/reduce/forms/test_card_blocks.py",
        "tests/reduce/forms/test_card.py",
    ),
    "reduce/forms/onnx.py": ("tests/reduce/forms/test_onnx.py",),
    "reduce/forms/sentence_transformers.py": ("tests/reduce/forms/test_sentence_transformers.py",),
    "reduce/forms/tokens.py": ("tests/reduce/forms/test_tokens.py",),
    "reduce/product_quantization.py": _SEARCHING,
    "reduce/index_worker.py": (*_SEARCHING, "tests/runs/test_indexes.py"),
    "reduce/orders.py": ("tests/reduce/test_orders.py",),
    "reduce/planning.py": _SHRINKING,
    "reduce/records.py": _SHRINKING,
    "reduce/rotation.py": ("tests/reduce/test_rotation.py",),
    "reduce/rows.py": ("tests/reduce/test_rows.py", *_SHRINKING),
    "reduce/search_sets.py": (
        "tests/reduce/test_search_sets.py",
        "tests/runs/test_indexes.py",
    ),
    "reduce/searching.py": _SEARCHING,
    "reduce/shares.py": ("tests/reduce/test_choosing.py", "tests/runs/test_captions.py"),
    "reduce/shrinking.py": _SHRINKING,
    "runs/search_data.py": ("tests/runs/test_indexes.py",),
}


def module_of(file: str) -> str | None:
    """Return the row of a source file below the package; None where no row is its."""
    rows = (row for row in TESTS if file == row or (row.endswith("/") and file.startswith(row)))
    return max(rows, key=len, default=None)
