"""What each code finds is what its definition finds; recall, task and intervals are as defined."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from purescope.errors import InputError, PurescopeError
from purescope.reduce import searching
from purescope.reduce.coding import draw_rotation
from purescope.reduce.orders import order_rotation
from purescope.reduce.searching import (
    SearchSet,
    interval,
    measure_searches,
    recall,
    search_exactly,
)
from purescope.studies.spectra import Spectrum, make_embeddings

WIDTH, ROWS, ASKED = 12, 400, 30
MADE = make_embeddings(ROWS + ASKED, spectrum=Spectrum(neurons=WIDTH, decay=1.5), topics=20)
GIVEN = SearchSet(
    vectors=MADE.image[:ROWS],
    queries=MADE.image[ROWS:],
    task="same_label",
    labels=MADE.labels[:ROWS],
    query_labels=MADE.labels[ROWS:],
    dataset="made",
)
VECTORS, QUERIES = GIVEN.vectors.numpy(), GIVEN.queries.numpy()
PLAIN = order_rotation(range(WIDTH), WIDTH, recipe={"axes": "first_k"})
CODES = ("f32", "f16", "int8", "binary", "pq3", "pq12")
KS = (6, 12)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str, str], np.ndarray]:
    """What one process finds, by k, code and stage."""
    folder = tmp_path_factory.mktemp("job")
    job = {
        "keep": KS,
        "codes": CODES,
        "candidates": 40,
        "at": 10,
        "normalise": True,
        "one_tower": True,
        "seed": 7,
        "threads": 1,
    }
    searching._write_job(folder, GIVEN, PLAIN, job)
    cells = searching._run_worker(folder, lambda text: None)
    assert [(cell["k"], cell["code"]) for cell in cells] == [(k, c) for k in KS for c in CODES]
    # 400 rows have 2^8 codewords of each of 3 or 12 parts.
    sizes = {cell["code"]: cell["bytes"] for cell in cells if cell["k"] == 12}
    assert sizes == {"f32": 48, "f16": 24, "int8": 12, "binary": 2, "pq3": 3, "pq12": 12}
    return {
        (cell["k"], cell["code"], stage): np.load(folder / f"{stage}_{number}.npy")
        for number, cell in enumerate(cells)
        for stage in ("single", "reranked")
    }


def kept(rows: np.ndarray, k: int) -> np.ndarray:
    short = rows[:, :k].astype(np.float64)
    return short / np.linalg.norm(short, axis=1, keepdims=True)


def of_code(code: str, rows: np.ndarray) -> np.ndarray:
    """The rows that a code stands for, from its definition."""
    if code == "f16":
        return rows.astype(np.float16).astype(np.float64)
    if code == "int8":
        low, high = rows.min(axis=0), rows.max(axis=0)
        step = np.floor((rows - low) / (high - low) * 255)
        return low + (step + 0.5) / 255 * (high - low)
    return rows


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("code", ["f32", "f16", "int8"])
def test_a_code_of_numbers_finds_the_largest_products(
    k: int, code: str, found: dict[tuple[int, str, str], np.ndarray]
) -> None:
    scores = kept(QUERIES, k) @ of_code(code, kept(VECTORS, k)).T
    for query, rows in zip(scores, found[k, code, "single"], strict=True):
        assert query[rows] == pytest.approx(np.sort(query)[::-1][:10], abs=2e-4)
        assert len(set(rows)) == 10


@pytest.mark.parametrize("k", KS)
def test_binary_finds_the_most_equal_signs(
    k: int, found: dict[tuple[int, str, str], np.ndarray]
) -> None:
    rows, asked, turn = kept(VECTORS, k), kept(QUERIES, k), draw_rotation(k, 7)
    mean = rows.mean(axis=0)
    bits, wanted = (rows - mean) @ turn > 0, (asked - mean) @ turn > 0
    for signs, row in zip(wanted, found[k, "binary", "single"], strict=True):
        distances = (bits != signs).sum(axis=1)
        assert distances[row].tolist() == sorted(distances)[:10]


def test_parts_of_one_axis_lose_little_and_larger_ones_more(
    found: dict[tuple[int, str, str], np.ndarray],
) -> None:
    tenth, _ = search_exactly(GIVEN.vectors, GIVEN.queries)
    share = {
        code: float(recall(GIVEN, tenth, torch.from_numpy(found[12, code, "single"])).mean())
        for code in ("pq12", "pq3", "binary")
    }
    assert share["pq12"] > 0.9 > share["pq3"] > share["binary"]


@pytest.mark.parametrize("code", CODES)
def test_reranking_keeps_the_candidates_that_whole_vectors_prefer(
    code: str, found: dict[tuple[int, str, str], np.ndarray]
) -> None:
    exact = QUERIES @ VECTORS.T
    for query, single, best in zip(
        exact, found[6, code, "single"], found[6, code, "reranked"], strict=True
    ):
        assert (np.diff(query[best]) <= 1e-6).all()
        assert (np.sort(query[best]) >= np.sort(query[single]) - 1e-6).all()


def test_recall_is_the_share_that_is_as_near_as_the_tenth() -> None:
    tenth, exact = search_exactly(GIVEN.vectors, GIVEN.queries)
    assert recall(GIVEN, tenth, exact).tolist() == [1.0] * ASKED
    drawn = torch.from_numpy(np.random.default_rng(1).integers(0, 60, (ASKED, 10)))
    scores = QUERIES.astype(np.float64) @ VECTORS.T.astype(np.float64)
    for query, rows, share in zip(scores, drawn, recall(GIVEN, tenth, drawn), strict=True):
        best = sorted(query)[::-1][9]
        assert float(share) == sum(query[row] >= best - 1e-6 for row in rows) / 10


def test_equal_vectors_are_equally_near() -> None:
    """Twenty copies of one vector: any ten of them are right."""
    given = SearchSet(torch.eye(3)[:1].repeat(20, 1), torch.eye(3)[:1].repeat(2, 1))
    tenth, _ = search_exactly(given.vectors, given.queries)
    assert recall(given, tenth, torch.arange(10, 20).repeat(2, 1)).tolist() == [1.0, 1.0]


def test_the_table_has_what_was_found(
    found: dict[tuple[int, str, str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def saved(folder: Path, tell: object) -> list[dict[str, object]]:
        """Write what the other process found, in its place."""
        seconds = {"build_seconds": 1.0, "search_seconds": 0.03, "rescore_seconds": 0.06}
        for stage in ("single", "reranked"):
            np.save(folder / f"{stage}_0.npy", found[6, "int8", stage])
        told.append("int8")
        return [{"k": 6, "code": "int8", "bytes": 6, "shared_bytes": 48, **seconds}]

    monkeypatch.setattr(searching, "_run_worker", saved)
    table = measure_searches(GIVEN, PLAIN, keep=[6], codes="int8", resamples=500)
    assert table.stage.tolist() == ["single", "reranked"] and told == ["int8"]
    assert table.query_ms.tolist() == pytest.approx([1.0, 3.0])
    tenth, exact = search_exactly(GIVEN.vectors, GIVEN.queries)
    for row, stage in zip(table.itertuples(), table.stage, strict=True):
        rows = found[6, "int8", stage]
        shares = recall(GIVEN, tenth, torch.from_numpy(rows)).numpy()
        labels = MADE.labels.numpy()
        right = [
            [labels[row] == labels[ROWS + query] for row in rows[query]] for query in range(ASKED)
        ]
        assert row.recall == pytest.approx(shares.mean())
        assert row.task == pytest.approx(np.mean(right))
        assert row.recall_low <= row.recall <= row.recall_high
        half = 1.96 * shares.std(ddof=1) / np.sqrt(ASKED)
        assert row.recall_high - row.recall_low == pytest.approx(2 * half, rel=0.2)
    right = MADE.labels[:ROWS][exact] == MADE.labels[ROWS:, None]
    assert table.task_exact.tolist() == pytest.approx([float(right.double().mean())] * 2)
    assert set(table["axes"]) == {"first_k"} and set(table.vectors) == {ROWS}


def test_without_labels_there_is_no_task() -> None:
    low, high = interval(torch.full((2, 5), torch.nan).double(), resamples=10, seed=0)
    assert low.isnan().all() and high.isnan().all()


def test_values_that_are_all_equal_have_an_interval() -> None:
    """Ten of ten right: Wilson's interval of 1 begins at 1 / (1 + 1.96^2 / 10)."""
    low, high = interval(torch.ones(1, 10).double(), resamples=10, seed=0)
    assert float(low) == pytest.approx(1 / (1 + 1.959964**2 / 10)) and float(high) == 1
    low, high = interval(torch.zeros(1, 10).double(), resamples=10, seed=0)
    assert float(low) == 0 and float(high) == pytest.approx(1 - 1 / (1 + 1.959964**2 / 10))


def test_a_process_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_WORKER", "purescope.reduce.nowhere")
    with pytest.raises(PurescopeError, match=r"ended with 1: .*No module named purescope"):
        measure_searches(GIVEN, PLAIN, keep=[6], codes="f32")


def test_mistakes_are_answered() -> None:
    for options, message in (
        ({"keep": [13]}, "k = 13"),
        ({"keep": [6], "codes": "f8"}, "unknown code"),
        ({"keep": [6], "candidates": 9}, "9 candidates"),
    ):
        with pytest.raises(InputError, match=message):
            measure_searches(GIVEN, PLAIN, **{"codes": "f32", **options})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="9 vectors and 2 queries"):
        SearchSet(torch.eye(9), torch.eye(9)[:2])


def test_the_worker_imports_no_torch() -> None:
    """Two OpenMP runtimes must not meet; the modules that the worker imports say so."""
    code = (
        "import sys; import purescope.reduce.index_worker; "
        "print('torch' in sys.modules, 'faiss' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
