"""What an index of its own process takes and finds: shared bytes, few and many rows, two towers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from purescope.reduce import searching
from purescope.reduce.coding import draw_rotation
from purescope.reduce.rotation import Rotation
from purescope.reduce.searching import SearchSet, measure_searches

WIDTH, ROWS, ASKED = 11, 600, 20


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation() -> Rotation:
    """A rotation with other axes for texts."""
    image, text = (torch.linalg.qr(drawn(WIDTH, WIDTH, seed=seed))[0] for seed in (1, 2))
    return Rotation(image, text, torch.ones(WIDTH))


# Of any length, and with a mean that is another for texts.
GIVEN = SearchSet(drawn(ROWS, WIDTH) + 0.5, 2 * drawn(ASKED, WIDTH, seed=5) - 1, asked="text")
JOB: dict[str, Any] = {
    "keep": [7],
    "codes": ["f32", "f16", "int8", "binary", "pq3"],
    "candidates": 1000,
    "at": 10,
    "normalise": False,
    "one_tower": False,
    "seed": 3,
    "threads": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job")


@pytest.fixture(scope="module")
def cells(folder: Path) -> list[dict[str, Any]]:
    searching._write_job(folder, GIVEN, rotation(), JOB)
    return searching._run_worker(folder, lambda text: None)


def test_bytes_are_those_of_the_definition(cells: list[dict[str, Any]]) -> None:
    """Ranges of 7 dimensions; a square, and two means; 2^8 codewords, whose parts have 7 places
    together, and two squares.
    """
    found = {cell["code"]: (cell["bytes"], cell["shared_bytes"]) for cell in cells}
    assert found == {
        "f32": (28, 0),
        "f16": (14, 0),
        "int8": (7, 4 * 2 * 7),
        "binary": (1, 4 * (7 * 7 + 2 * 7)),
        "pq3": (3, 4 * (256 * 7 + 2 * 7 * 7)),
    }


def test_seconds_are_differences(cells: list[dict[str, Any]]) -> None:
    names = ("build_seconds", "search_seconds", "rescore_seconds")
    assert all(0 <= cell[name] < 60 for cell in cells for name in names)


def test_all_rows_are_candidates_where_there_are_fewer(
    folder: Path, cells: list[dict[str, Any]]
) -> None:
    best = (GIVEN.queries @ GIVEN.vectors.T).topk(10).indices.numpy()
    for number in range(len(cells)):
        assert (np.load(folder / f"reranked_{number}.npy") == best).all()


def turned() -> tuple[np.ndarray, np.ndarray]:
    axes = rotation()
    rows = GIVEN.vectors.double() @ axes.image[:, :7].double()
    asked = GIVEN.queries.double() @ axes.text[:, :7].double()
    return rows.numpy(), asked.numpy()


def test_each_tower_has_its_axes_and_lengths_are_kept(
    folder: Path, cells: list[dict[str, Any]]
) -> None:
    rows, asked = turned()
    best = np.argsort(-(asked @ rows.T), axis=1)[:, :10]
    assert (np.load(folder / "single_0.npy") == best).all()
    shared = [
        set(one) & set(other)
        for one, other in zip(np.load(folder / "single_2.npy"), best, strict=True)
    ]
    assert sum(map(len, shared)) >= 9 * ASKED


def test_signs_of_texts_are_without_the_mean_of_texts(
    folder: Path, cells: list[dict[str, Any]]
) -> None:
    (rows, asked), turn = turned(), draw_rotation(7, 3)
    bits, wanted = ((part - part.mean(axis=0)) @ turn > 0 for part in (rows, asked))
    for signs, found in zip(wanted, np.load(folder / "single_3.npy"), strict=True):
        distances = (bits != signs).sum(axis=1)
        assert distances[found].tolist() == sorted(distances)[:10]


def test_what_all_rows_have_in_common_takes_no_codewords(
    folder: Path, cells: list[dict[str, Any]], tmp_path: Path
) -> None:
    """It adds the same to the product of a query with any row."""
    moved = SearchSet(GIVEN.vectors + 20 * drawn(WIDTH, seed=7), GIVEN.queries, asked="text")
    searching._write_job(tmp_path, moved, rotation(), JOB | {"codes": ["pq3"]})
    searching._run_worker(tmp_path, lambda text: None)
    found, same = np.load(tmp_path / "single_0.npy"), np.load(folder / "single_4.npy")
    shared = [len(set(one) & set(other)) for one, other in zip(found, same, strict=True)]
    assert sum(shared) >= 0.95 * 10 * ASKED


# --- clusters

TOPICS, EACH = 300, 25


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Many tight topics, each asked for once."""
    folder = tmp_path_factory.mktemp("clustered")
    topics = torch.nn.functional.normalize(drawn(TOPICS, WIDTH, seed=8), dim=1)
    rows = topics.repeat_interleave(EACH, dim=0) + 0.02 * drawn(TOPICS * EACH, WIDTH, seed=9)
    mixed = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    given = SearchSet(rows[mixed], topics + 0.02 * drawn(TOPICS, WIDTH, seed=10))
    job = JOB | {"keep": [11], "codes": ["pq3", "pq4", "pq20"], "candidates": 10}
    searching._write_job(folder, given, rotation(), job | {"one_tower": True, "normalise": True})
    np.save(folder / "topic.npy", (mixed // EACH).numpy())
    return folder, searching._run_worker(folder, lambda text: None)


def test_a_cluster_takes_two_bytes_and_shares_its_centre(
    clustered: tuple[Path, list[dict[str, Any]]],
) -> None:
    """7,500 rows have 256 clusters, but for three bytes."""
    assert all(0 <= cell["build_seconds"] < 60 for cell in clustered[1])
    sizes = [(cell["bytes"], cell["shared_bytes"]) for cell in clustered[1]]
    each = 4 * WIDTH * (256 + 2 * WIDTH), 4 * WIDTH * (256 + 2 * WIDTH + 256)
    assert sizes == [(3, each[0]), (4, each[1]), (13, each[1])]


def test_the_centres_of_clusters_find_topics(
    clustered: tuple[Path, list[dict[str, Any]]],
) -> None:
    """Two bytes more say what a row has beyond its centre, which does not tell topics apart."""
    folder, cells = clustered
    topic = np.load(folder / "topic.npy")
    for number, cell in enumerate(cells):
        found = topic[np.load(folder / f"single_{number}.npy")]
        assert cell["code"] == "pq3" or (found == np.arange(TOPICS)[:, None]).mean() > 0.99


def test_rows_of_a_cluster_are_told_apart(
    clustered: tuple[Path, list[dict[str, Any]]],
) -> None:
    """A byte for each dimension finds nearly all of the ten nearest."""
    folder = clustered[0]
    vectors, queries = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries"))
    lengths = [np.linalg.norm(array, axis=1, keepdims=True) for array in (vectors, queries)]
    scores = (queries / lengths[1]) @ (vectors / lengths[0]).T
    best = np.argsort(-scores, axis=1)[:, :10]
    shared = [
        len(set(one) & set(other))
        for one, other in zip(np.load(folder / "single_2.npy"), best, strict=True)
    ]
    assert sum(shared) > 0.9 * 10 * TOPICS


# --- what the process is asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the jobs that are written, and the resamples of the intervals; nothing is searched."""
    seen: list[dict[str, Any]] = []

    def write(folder: Path, given: object, rotation: object, job: dict[str, Any]) -> None:
        seen.append(dict(job))

    def run(folder: Path, tell: object) -> list[dict[str, Any]]:
        for stage in ("single", "reranked"):
            np.save(folder / f"{stage}_0.npy", np.tile(np.arange(10), (ASKED, 1)))
        seconds = dict.fromkeys(("build_seconds", "search_seconds", "rescore_seconds"), 1.0)
        return [{"k": 7, "code": "f32", "bytes": 28, "shared_bytes": 0, **seconds}]

    def interval(values: torch.Tensor, *, resamples: int, seed: int) -> object:
        seen[-1] |= {"resamples": resamples, "drawn": seed}
        return values.mean(1), values.mean(1)

    monkeypatch.setattr(searching, "_write_job", write)
    monkeypatch.setattr(searching, "_run_worker", run)
    monkeypatch.setattr(searching, "interval", interval)
    return seen


def test_the_job_has_the_options(asked: list[dict[str, Any]]) -> None:
    measure_searches(GIVEN, rotation(), keep=[7], codes="f32")
    table = measure_searches(
        GIVEN, rotation(), keep=[7], codes="f32", candidates=10, normalise=False,
        seed=(1 << 31) + 6, resamples=9,
    )  # fmt: skip
    fixed = {"keep": [7], "codes": ("f32",), "at": 10, "one_tower": False}
    fixed["threads"] = torch.get_num_threads()
    defaults = {"candidates": 100, "normalise": True, "seed": 0, "resamples": 10_000, "drawn": 0}
    given = {"candidates": 10, "normalise": False, "seed": 6, "resamples": 9}
    assert asked == [fixed | defaults, fixed | given | {"drawn": (1 << 31) + 6}]
    assert table.seed.tolist() == [(1 << 31) + 6] * 2 and not table.normalise.any()


def test_held_out_vectors_are_of_one_tower(asked: list[dict[str, Any]]) -> None:
    given = SearchSet(GIVEN.vectors, GIVEN.queries)
    measure_searches(given, rotation(), keep=[7], codes="f32")
    assert asked[0]["one_tower"] is True
