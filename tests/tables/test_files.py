"""The tidy table and its files: the schema both ways, the experiment's CSV to the byte, and nothing
half written.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from purescope.errors import InputError, OutputError
from purescope.files.manifest import own_manifest, read_manifest, write_manifest
from purescope.files.writing import atomic_path, slug
from purescope.tables.columns import METRICS
from purescope.tables.files import check_table, read_csv_table, read_parquet, write_parquet
from purescope.tables.result_table import wide_path, wide_table
from purescope.tables.results import open_results, write_results
from purescope.tables.schemas import PURITY, RESULTS, TRACK

KS = [200, 250, 500]


def value(strategy: str, k: int, metric: str) -> float:
    """Different in every cell, and with more digits than a rounding writer would keep."""
    number = ("full", "high_purity", "low_purity", "random").index(strategy) + METRICS.index(
        metric
    ) / 8
    return (number + k / 1000) / 7


def result_table(
    model: str = "CC3M LaCLIP", dataset: str = "cifar10", **columns: Any
) -> pd.DataFrame:
    runs = [("full", 0, 512)] + [
        (strategy, draw, k)
        for strategy, draw in [("high_purity", 0), ("low_purity", 0), ("random", 0), ("random", 1)]
        for k in KS
    ]
    rows = [
        {
            "model": model,
            "dataset": dataset,
            "strategy": strategy,
            "draw": draw,
            "k": k,
            "metric": metric,
            "value": value(strategy, k, metric) + draw / 1000,
            "low": 0.1,
            "high": 0.9,
            "binomial_low": np.nan if metric == "silhouette" else 0.1,
            "binomial_high": np.nan if metric == "silhouette" else 0.9,
            "chance": np.nan if metric == "silhouette" else 0.1,
            "n": 10_000,
            "classes": 10,
            "neurons": 512,
            "seed": draw,
            "space": "weights",
            "measure": "l1",
            "towers": "both",
            "ablation": "zero",
            "renormalise": False,
            "protocol": "paper",
            **columns,
        }
        for strategy, draw, k in runs
        for metric in METRICS
    ]
    return pd.DataFrame(rows)


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- schema


def test_columns_come_in_order_and_typed() -> None:
    table = result_table()
    shuffled = table[sorted(table)].assign(note="extra")
    checked = check_table(shuffled)
    assert list(checked) == [*RESULTS.columns, "note"]
    assert {
        column: str(dtype) for column, dtype in checked[[*RESULTS.columns]].dtypes.items()
    } == RESULTS.columns
    assert (checked[[*table]] == table).sum().sum() == (
        table == table
    ).sum().sum()  # NaN is not itself


@pytest.mark.parametrize("column", RESULTS.columns)
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(
        InputError, match=f"without the columns {column}\n.*model, dataset, strategy"
    ):
        check_table(result_table().drop(columns=column))


WRONG = {
    "half a neuron": ("k", 2.5, r"2\.5.*column k of"),
    "a text for a number": ("k", "many", "(?s)wrong type.*many"),
    "digits for a number": ("k", "200", "'512'.*column k of"),
    "no number of images": ("n", np.nan, "wrong type"),
    "a text for a value": ("value", "good", "(?s)wrong type.*good"),
    "a text for a truth": ("renormalise", "False", "'False'.*column renormalise"),
    "no model": ("model", None, "column model"),
    "no metric": ("metric", None, "column metric"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_refused_on_write_and_read(name: str, tmp_path: Path) -> None:
    column, wrong, message = WRONG[name]
    table = result_table()
    table[column] = (
        [*table[column].tolist()[:-1], wrong]
        if name != "digits for a number"
        else table[column].astype(str)
    )
    with pytest.raises(InputError, match=message):
        write_results(table, tmp_path)
    assert not written(tmp_path)
    if wrong not in ("many", "good", "False"):  # Parquet has no column of mixed types
        table.to_parquet(tmp_path / "results.parquet")
        with pytest.raises(InputError, match=message):
            open_results(tmp_path).table("results")


def test_a_cell_may_stand_once() -> None:
    table = result_table()
    twice = pd.concat(
        [table, table.iloc[[9, 11]].assign(value=0.0)]
    )  # the index stands twice as well
    first = ", ".join(f"{name} {table.iloc[9][name]}" for name in RESULTS.key)
    assert first.startswith("model CC3M LaCLIP, dataset cifar10, strategy high")
    with pytest.raises(InputError, match=f"2 cells occur twice, first {first}\n"):
        check_table(twice)


def test_a_table_without_rows_has_no_wrong_value() -> None:
    empty = pd.DataFrame(
        columns=[*TRACK.columns, "high_purity_3"]
    )  # a further column, of no type yet
    assert list(check_table(empty, TRACK)) == [*TRACK.columns, "high_purity_3"]


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    table = pd.concat(
        [result_table(), result_table(dataset="dtd"), result_table(model="plain CLIP")]
    )
    write_results(table, tmp_path)
    expected = check_table(table)
    pd.testing.assert_frame_equal(open_results(tmp_path).table("results"), expected)
    from_csv = pd.read_csv(tmp_path / "results.csv", converters={"value": float})
    assert list(from_csv) == list(RESULTS.columns)
    assert from_csv["value"].tolist() == expected["value"].tolist()


def test_numbers_of_rows_are_not_kept(tmp_path: Path) -> None:
    write_parquet(pd.DataFrame({"k": [1, 2, 3]})[1:], tmp_path / "part.parquet")
    read = read_parquet(tmp_path / "part.parquet")
    assert list(read) == ["k"] and read.index.tolist() == [0, 1]


def test_a_number_that_changed_on_the_disk_is_not_read(tmp_path: Path) -> None:
    """Nothing but a checksum tells one number from another."""
    file = tmp_path / "numbers.parquet"
    numbers = np.random.default_rng(0).random(1000)
    write_parquet(pd.DataFrame({"value": numbers}), file)
    content = file.read_bytes()
    place = content.index(numbers[500].tobytes())  # as it is: random digits cannot be packed
    file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"numbers\.parquet cannot be read"):
        read_parquet(file)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no results in .*\n.*--out folder"):
        open_results(tmp_path).table("results")
    (tmp_path / "results.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"results.parquet cannot be read"):
        open_results(tmp_path).table("results")


SURPLUS: dict[str, tuple[Callable[[int], list[Any]], bool, str]] = {
    "megabytes of text": (
        lambda rows: [f"{row}" + "x" * (30_000_000 // rows) for row in range(rows)],
        False,
        "30.0 MB",
    ),
    "one text of all": (lambda rows: ["x" * 3_000_000] * rows, True, "declares"),
    "lists": (lambda rows: [["x"]] * rows, True, "holds list"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SURPLUS)
def test_a_surplus_column_cannot_fill_the_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("purescope.files.reading.SMALL", 1_000_000)
    make, shared, message = SURPLUS[kind]
    write_results(result_table(), tmp_path)
    file = tmp_path / "results.parquet"
    table = pyarrow.parquet.read_table(file)
    table = table.append_column("note", pyarrow.array(make(table.num_rows)))
    pyarrow.parquet.write_table(table, file, compression="zstd", use_dictionary=shared)
    assert file.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"results\.parquet .*" + message):
        open_results(tmp_path).table("results")


@pytest.mark.parametrize(
    ("table", "declared"),
    [
        (
            pyarrow.table({"k": np.zeros(1_000_000), "n": np.zeros(1_000_000)}),
            "128 MB",
        ),  # equal numbers are one in what the footer declares
        (pyarrow.table({"orders": [np.zeros(1_000_000)]}), "8.0 MB"),  # a list is one cell
    ],
    ids=["rows", "lists"],
)
def test_what_takes_nothing_in_the_file_cannot_fill_the_memory(
    table: pyarrow.Table, declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("purescope.files.reading.SMALL", 1000)
    file = tmp_path / "many.parquet"
    pyarrow.parquet.write_table(
        table, file, compression="zstd", use_dictionary="k" in table.column_names
    )
    assert file.stat().st_size < 10_000
    with pytest.raises(InputError, match=rf"many\.parquet declares {declared}"):
        read_parquet(file)


def test_a_csv_table_may_lack_what_its_name_says(tmp_path: Path) -> None:
    """`purescope purity` wrote no model into its files, once; a file that has one keeps it."""
    row = dict.fromkeys(PURITY.columns, 1.0) | {"model": "NA", "rank": 1, "neuron": 0}
    pd.DataFrame([row]).to_csv(tmp_path / "with.csv", index=False)
    pd.DataFrame([row]).drop(columns="model").to_csv(tmp_path / "without.csv", index=False)
    read = {
        name: read_csv_table(tmp_path / f"{name}.csv", PURITY, model="file")
        for name in ("with", "without")
    }
    assert {name: table.model.tolist() for name, table in read.items()} == {
        "with": ["NA"],
        "without": ["file"],
    }


def test_a_surplus_column_is_kept(tmp_path: Path) -> None:
    table = result_table().assign(note="mine")
    write_results(table, tmp_path)
    assert open_results(tmp_path).table("results").note.eq("mine").all()


# --- the experiment's own files


def test_wide_files_are_the_experiments_to_the_byte(tmp_path: Path) -> None:
    write_results(result_table(), tmp_path)
    files = written(tmp_path)
    assert files.keys() == {
        "results.csv",
        "results.parquet",
        "result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv",
        "result_cc3m_laclip/cifar10_laclip_silhouette_vs_sam.csv",
    }
    for metric in ("accuracy", "silhouette"):
        lines = ["sam,Model,Full Features,Min Sparse Features,Max Sparse Features"]
        for k in KS:
            cells = [
                value("full", 512, metric),
                value("high_purity", k, metric),
                value("low_purity", k, metric),
            ]
            lines.append(f"{k},CC3M LaCLIP," + ",".join(map(repr, cells)))
        expected = "\n".join([*lines, ""]).encode()
        assert files[f"result_cc3m_laclip/cifar10_laclip_{metric}_vs_sam.csv"] == expected


def test_every_model_and_dataset_has_its_own_files(tmp_path: Path) -> None:
    parts = [
        result_table(model, data)
        for model in ("CC3M LaCLIP", "CLIP")
        for data in ("cifar10", "cifar100")
    ]
    for number, part in enumerate(parts):
        part["value"] += number / 100
    write_results(pd.concat(parts), tmp_path)
    for part, (folder, stem) in zip(
        parts,
        [
            ("cc3m_laclip", "cifar10_laclip"),
            ("cc3m_laclip", "cifar100_laclip"),
            ("clip", "cifar10_clip"),
            ("clip", "cifar100_clip"),
        ],
        strict=True,
    ):
        wide = pd.read_csv(
            tmp_path / f"result_{folder}" / f"{stem}_accuracy_vs_sam.csv",
            converters={"Full Features": float},
        )
        assert (
            wide["Full Features"].tolist()
            == part.value[part.strategy.eq("full") & part.metric.eq("accuracy")].tolist() * 3
        )
        assert set(wide["Model"]) == set(part.model)


def test_a_silhouette_that_is_nan_leaves_its_fields_empty(tmp_path: Path) -> None:
    table = result_table()
    table.loc[table.metric == "silhouette", "value"] = np.nan
    write_results(table, tmp_path)
    lines = (
        (tmp_path / "result_cc3m_laclip/cifar10_laclip_silhouette_vs_sam.csv")
        .read_text()
        .splitlines()
    )
    assert lines[1:] == [f"{k},CC3M LaCLIP,,," for k in KS]


def test_the_full_width_may_be_among_the_ks() -> None:
    table = result_table()
    table.loc[table.k == 500, "k"] = 512
    wide = wide_table(check_table(table), "accuracy")
    assert wide["sam"].tolist() == [200, 250, 512]
    assert wide["Full Features"].tolist() == [value("full", 512, "accuracy")] * 3


@pytest.mark.parametrize(
    ("label", "dataset", "path"),
    [
        ("CC3M LaCLIP", "cifar10", "result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv"),
        ("CLIP", "CIFAR10", "result_clip/cifar10_clip_accuracy_vs_sam.csv"),
        (
            "ViT-B/16 (laion2b)",
            "my/dir",
            "result_vit_b_16_laion2b/my_dir_laion2b_accuracy_vs_sam.csv",
        ),
        ("../../etc", "..", "result_etc/unnamed_etc_accuracy_vs_sam.csv"),
    ],
)
def test_wide_names(label: str, dataset: str, path: str) -> None:
    assert wide_path(Path("out"), label, dataset, "accuracy") == Path("out") / path


def test_a_slug_is_safe_in_a_path() -> None:
    assert slug("  A/b\\c:D..e\n") == "a_b_c_d_e"


@pytest.mark.parametrize("other", [("cc3m-laclip", "cifar10"), ("CC3M LaCLIP", "CIFAR 10")])
def test_labels_that_share_a_file_are_refused_before_anything_is_written(
    other: tuple[str, str], tmp_path: Path
) -> None:
    table = pd.concat(
        [result_table(dataset="cifar_10"), result_table(dataset="cifar10"), result_table(*other)]
    )
    with pytest.raises(
        InputError, match=r"share the file .*_laclip_accuracy_vs_sam.csv(?s:.*)label="
    ):
        write_results(table, tmp_path)
    assert not written(tmp_path)


# As experiment.md prints them.
PLOT_RESULTS = """
import pandas as pd
import matplotlib.pyplot as plt

# Load results
df = pd.read_csv("result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv")

plt.figure(figsize=(10, 6))
plt.plot(df['sam'], df['Full Features'], 'k--', label='Full (512)', linewidth=2)
plt.plot(df['sam'], df['Min Sparse Features'], 'b-o', label='Min Sparse (High Purity)', linewidth=2)
plt.plot(df['sam'], df['Max Sparse Features'], 'r-s', label='Max Sparse (Low Purity)', linewidth=2)

plt.xlabel('Number of Retained Neurons', fontsize=12)
plt.ylabel('Zero-shot Accuracy (%)', fontsize=12)
plt.title('CIFAR-10: Effect of Neuron Pruning on Accuracy', fontsize=14)
plt.legend(fontsize=11)
plt.grid(True, alpha=0.3)
plt.tight_layout()
plt.savefig('neuron_pruning_cifar10.png', dpi=300)
plt.show()
"""
COMPARISON_PLOT = """
import numpy as np

# Calculate performance gap
df['Gap'] = df['Min Sparse Features'] - df['Max Sparse Features']

plt.figure(figsize=(10, 6))
plt.plot(df['sam'], df['Gap'], 'g-^', linewidth=2, markersize=8)
plt.axhline(y=0, color='k', linestyle='--', alpha=0.5)
plt.xlabel('Number of Retained Neurons', fontsize=12)
plt.ylabel('Accuracy Gap (Min - Max) %', fontsize=12)
plt.title('Performance Gap: High-Purity vs Low-Purity Neurons', fontsize=14)
plt.grid(True, alpha=0.3)
plt.tight_layout()
plt.savefig('purity_gap.png', dpi=300)
plt.show()
"""


def test_the_experiments_plotting_snippets_run_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(result_table(), tmp_path)
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, Any] = {}
    exec(PLOT_RESULTS, names)
    curves = {line.get_label(): line.get_ydata() for line in plt.gca().get_lines()}
    exec(COMPARISON_PLOT, names)
    gap = plt.gca().get_lines()[0].get_ydata()
    plt.close("all")
    assert list(curves) == ["Full (512)", "Min Sparse (High Purity)", "Max Sparse (Low Purity)"]
    # The snippets read as pandas does by itself, which is to the last bit since 3.1 only.
    high, low = (
        np.array([value(strategy, k, "accuracy") for k in KS])
        for strategy in ("high_purity", "low_purity")
    )
    np.testing.assert_allclose(curves["Min Sparse (High Purity)"], high, rtol=1e-14)
    np.testing.assert_allclose(gap, high - low, rtol=1e-12)
    assert (tmp_path / "neuron_pruning_cifar10.png").stat().st_size > 1000
    assert (tmp_path / "purity_gap.png").stat().st_size > 1000


# --- files that appear whole or not at all


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert written(tmp_path) == {"a.txt": b"new"}
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask(tmp_path)


def current_umask(folder: Path) -> int:
    """What an ordinary new file lacks."""
    probe = folder / "probe"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    return 0o666 & ~mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_stays_when_the_writer_fails(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert written(tmp_path) == {"a.txt": b"old"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (OSError("broken pipe"), "broken pipe"),
    ],
)
def test_a_disk_that_fails_is_an_output_error(error: OSError, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match=f"cannot write .*a.txt: .*{words}"), atomic_path(path):
        raise error
    assert written(tmp_path) == {"a.txt": b"old"}


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_results(result_table(), tmp_path / "runs" / "first")
    assert open_results(tmp_path / "runs" / "first").table("results").shape[0] == len(
        result_table()
    )


def test_a_folder_that_cannot_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*results.csv(?s:.*)another --out"):
        write_results(result_table(), tmp_path / "out")
    assert written(tmp_path) == {"out": b"a file"}


def test_results_that_fail_to_write_leave_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(result_table(), tmp_path)
    before = written(tmp_path)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OutputError):
        write_results(result_table(n=1), tmp_path)
    assert written(tmp_path) == before


# --- the manifest


def test_a_manifest_is_read_back_in_any_alphabet(tmp_path: Path) -> None:
    manifest = {"model": "CLIP für Katzen 猫", "seed": 3, "timings": {"encode": 0.5}}
    assert read_manifest(tmp_path) is None
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert "猫" in (tmp_path / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null"])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        OutputError, match=r"manifest.json (cannot be read|holds a)(?s:.*)or remove the file"
    ):
        read_manifest(tmp_path)


def test_what_is_left_of_a_manifest_is_replaced_on_demand_only(tmp_path: Path) -> None:
    write_manifest({"purescope": "0.1.0", "tables": []}, tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(file.read_text()[:-10])
    with pytest.raises(OutputError, match=r"manifest\.json cannot be read"):
        own_manifest(tmp_path)
    assert own_manifest(tmp_path, overwrite=True) == {}


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_manifest({"seed": 1}, tmp_path)
    with pytest.raises(TypeError):
        write_manifest({"seed": object()}, tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"seed": 1}
    assert written(tmp_path).keys() == {"manifest.json"}
