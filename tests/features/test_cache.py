"""The cache: nothing is encoded twice, nothing stopped is lost, and nothing damaged is ever
read.
"""

import errno
import json
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from purescope.cli.catalogue import cache as command
from purescope.datasets.images import LazyImages
from purescope.errors import InputError, ModelError, OutputError
from purescope.features import entry as _entry
from purescope.features.cache import Cache, complete, default_folder
from purescope.features.entry import content_of, key_of, size_on_disk
from purescope.features.extraction import extract
from purescope.features.features import Features

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def shards_of_six(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 23 images make four shards."""
    monkeypatch.setattr(_entry, "_SHARD", 6)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


class Counting:
    """An `encode_image` that counts the images it gets, and can stop at one."""

    def __init__(self, encode: Callable[[Tensor], Tensor], stop_after: int = 10**9) -> None:
        self.encode, self.images, self.stop_after, self.lock = (
            encode,
            0,
            stop_after,
            threading.Lock(),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        with self.lock:
            self.images += len(pixels)
            if self.images > self.stop_after:
                raise KeyboardInterrupt
        return self.encode(pixels)


def counted(model: Any, stop_after: int = 10**9) -> tuple[Any, Counting]:
    counting = Counting(model.encode_image, stop_after)
    return replace(model, encode_image=counting), counting


def same(a: Features, b: Features) -> bool:
    return (
        torch.equal(a.image, b.image)
        and torch.equal(a.text, b.text)
        and torch.equal(a.labels, b.labels)
    )


def shards(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("images/*/*.safetensors"))


def test_what_is_kept_is_what_was_encoded_and_is_not_encoded_again(
    make_model: Make, make_dataset: Make, cache: Cache
) -> None:
    model, dataset = make_model(), make_dataset()
    first = extract(model, dataset, batch_size=6, cache=cache)
    torch.testing.assert_close(
        first.image, extract(model, dataset, batch_size=6).image, atol=1e-6, rtol=0
    )
    assert torch.equal(first.text, extract(model, dataset).text)

    def fail(*_: Any) -> Tensor:
        raise AssertionError("encoded again")

    again = extract(
        replace(model, encode_image=fail, encode_text=fail),
        dataset,
        batch_size=6,
        cache=cache.folder,
    )
    assert same(first, again)
    assert again.identity == first.identity


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], int]] = {
    # model, dataset, options: towers that are encoded anew
    "weights": ({"identity": {"weights": "v"}}, {}, {}, 2),
    "precision": ({"identity": {"weights": "w", "precision": "bf16"}}, {}, {}, 2),
    "images": ({}, {"fingerprint": "g"}, {}, 1),
    "prompts": ({}, {"templates": ("my {}",)}, {}, 1),
    "protocol": ({}, {}, {"protocol": "paper"}, 2),
    "names and paths": (
        {"label": "other", "spec": "x.pt"},
        {"name": "renamed", "spec": "folder:x"},
        {},
        0,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_changes_a_number_makes_another_entry(
    make_model: Make, make_dataset: Make, cache: Cache, change: str
) -> None:
    model, dataset, options, new = CHANGES[change]
    extract(make_model(), make_dataset(), cache=cache)
    before = {entry.folder for entry in cache.entries()}
    extract(make_model(**model), make_dataset(**dataset), cache=cache, **options)
    assert len({entry.folder for entry in cache.entries()} - before) == new


@pytest.mark.parametrize("stop_after", [1, 7, 13, 20])
def test_a_stopped_encoding_goes_on_from_the_last_whole_shard(
    make_model: Make, make_dataset: Make, cache: Cache, tmp_path: Path, stop_after: int
) -> None:
    dataset = make_dataset()
    expected = extract(make_model(), dataset, batch_size=4, cache=tmp_path / "another")
    stopped, _ = counted(make_model(), stop_after)
    with pytest.raises(KeyboardInterrupt):
        extract(stopped, dataset, batch_size=4, cache=cache)
    kept = len(shards(cache))
    model, counting = counted(make_model())
    assert same(extract(model, dataset, batch_size=4, cache=cache), expected)
    assert counting.images == 23 - 6 * kept
    # Look-ahead apart, what was encoded is kept.
    assert kept >= (stop_after - 16) // 6


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x10
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def swap(path: Path) -> None:
    """Another shard's rows, whole and with a checksum of their own."""
    others = [other for other in path.parent.glob("*.safetensors") if other != path]
    path.write_bytes(others[0].read_bytes())


def as_float64(path: Path) -> None:
    save_file({"rows": load_file(path)["rows"].double()}, path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "emptied": lambda path: path.write_bytes(b"") and None,
    "another shard": swap,
    "another type": as_float64,
    "another key": lambda path: save_file({"x": torch.zeros(6, 5)}, path),
    **{
        f"byte {place}": (lambda path, place=place: flip(path, place))
        for place in (0, 3, 9, 40, 80, 100, -120, -1)
    },
}


@pytest.mark.parametrize("neurons", [1, 3000])
def test_an_entry_may_have_one_row_and_long_ones(cache: Cache, neurons: int) -> None:
    """A file longer than its entry can have is not read; a long row does not make it one."""
    entry = cache.entry("text", {"weights": "w"}, rows=1, neurons=neurons)
    rows = torch.arange(float(neurons))[None]
    entry.write(range(0, 1), rows)
    (found,) = cache.entries()
    assert found.folder == entry.folder
    again = found.read(range(0, 1))
    assert again is not None and again.equal(rows)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_made_again(
    make_model: Make, make_dataset: Make, cache: Cache, damage: str
) -> None:
    dataset = make_dataset()
    expected = extract(make_model(), dataset, batch_size=4, cache=cache)
    DAMAGES[damage](shards(cache)[1])
    entry = next(entry for entry in cache.entries() if entry.kind == "images")
    assert [entry.is_damaged(shard) for shard in entry.shards] == [False, True, False, False]
    model, counting = counted(make_model())
    with pytest.warns(UserWarning, match=r"00001\.safetensors is damaged and made again: (?!None)"):
        assert same(extract(model, dataset, batch_size=4, cache=cache), expected)
    assert counting.images == 6
    assert same(extract(make_model(), dataset, batch_size=4, cache=cache), expected)


def test_two_at_a_time_share_the_work(make_model: Make, make_dataset: Make, cache: Cache) -> None:
    """Each starts only when the other has, and every shard is made once."""
    dataset, model = make_dataset(), make_model()
    model, counting = counted(model)
    meet = threading.Barrier(2, timeout=20)
    started = threading.local()

    def progress(iterable: Any, label: str, total: int) -> Iterator[Any]:
        if not hasattr(started, "met"):
            started.met = meet.wait()
        yield from iterable

    results: list[Features] = []

    def run() -> None:
        results.append(extract(model, dataset, batch_size=4, cache=cache, progress=progress))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 2
    assert same(*results)
    assert counting.images == 23


def test_an_error_in_an_image_releases_the_locks(
    make_model: Make, make_dataset: Make, cache: Cache
) -> None:
    dataset = make_dataset()

    def read(index: int) -> Any:
        if index == 8:
            raise InputError("image 8")
        return dataset.images[index]

    with pytest.raises(InputError, match="image 8"):
        extract(
            make_model(), replace(dataset, images=LazyImages(read, 23)), batch_size=4, cache=cache
        )
    done = extract(make_model(), dataset, batch_size=4, cache=cache)
    torch.testing.assert_close(
        done.image, extract(make_model(), dataset, batch_size=4).image, atol=1e-6, rtol=0
    )


def test_a_cache_that_cannot_be_written(
    make_model: Make, make_dataset: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"cache.*cannot be written") as error:
        extract(make_model(), make_dataset(), cache=tmp_path / "file" / "cache")
    assert "--no-cache" in str(error.value)
    assert str(error.value).count("to fix") == 1 and "--out" not in str(error.value), (
        "the advice fits the cache"
    )


def test_a_full_disk(
    make_model: Make, make_dataset: Make, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, written = make_dataset(), []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        with path.open("wb") as stream:
            return stream.write(content if len(written) <= 2 else content[:20]) + fail(len(written))

    def fail(count: int) -> int:
        if count > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return 0

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device") as error:
        extract(make_model(), dataset, batch_size=4, cache=cache)
    assert str(error.value).count("to fix") == 1 and "--out" not in str(error.value)
    monkeypatch.undo()
    monkeypatch.setattr(_entry, "_SHARD", 6)
    assert len(shards(cache)) == 1, "the text and one shard were written before"
    assert not list(cache.folder.glob("images/*/.*")), "nothing half-written is left"
    model, counting = counted(make_model())
    extract(model, dataset, batch_size=4, cache=cache)
    assert counting.images == 23 - 6


def test_a_model_without_a_hash_is_not_cached(
    make_model: Make, make_dataset: Make, cache: Cache
) -> None:
    with pytest.raises(InputError, match="tiny has no hash of its weights"):
        extract(make_model(identity={}), make_dataset(), cache=cache)


def test_entries_are_removed_by_key_and_nothing_else_is(
    make_model: Make, make_dataset: Make, cache: Cache
) -> None:
    extract(make_model(), make_dataset(), cache=cache)
    extract(make_model(), make_dataset(fingerprint="g"), cache=cache)
    entries = cache.entries()
    assert sorted(entry.kind for entry in entries) == ["images", "images", "text"]
    gone = entries[0].folder
    (gone / "mine.txt").write_text("not the cache's")
    with pytest.raises(InputError, match="no entry 'xyz'"):
        cache.remove([gone.name[:10], "xyz"])
    assert len(cache.entries()) == 3, "none is removed where one is unknown"
    cache.remove([gone.name[:10]])
    assert [path.name for path in gone.iterdir()] == ["mine.txt"]
    cache.remove(entry.folder.name for entry in cache.entries())
    assert (cache.entries(), cache.damaged()) == ([], [])


def change(**fields: Any) -> Callable[[Path], None]:
    """Other values in the manifest."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | fields)) and None


def as_folder(path: Path) -> None:
    path.unlink()
    (path / "in").mkdir(parents=True)


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


MANIFESTS: dict[str, Callable[[Path], None]] = {
    "cut": lambda path: path.write_text(path.read_text()[:40]) and None,
    "empty": lambda path: path.write_text("{}") and None,
    "a list": lambda path: path.write_text("[]") and None,
    "no text": lambda path: path.write_bytes(b"\xff\xfe") and None,
    "deep": lambda path: path.write_text("[" * 100_000) and None,
    "gone": Path.unlink,
    "a folder": as_folder,
    "a pipe": as_pipe,
    "an endless device": as_device,
    "rows of another type": change(rows="x"),
    "no row": change(rows=0),
    "too many rows": change(rows=99999999999),
    "rows that are a list": change(rows=[1]),
    "another kind": change(kind="audio"),
    "another identity": change(identity={"model_weights": "v"}),
    "about is a list": change(about=[]),
    "about numbers": change(about={"model": 3}),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_disables_nothing_and_is_made_again(
    make_model: Make, make_dataset: Make, cache: Cache, damage: str
) -> None:
    model, dataset = make_model(), make_dataset()
    expected = extract(model, dataset, cache=cache)
    folder = next(entry.folder for entry in cache.entries() if entry.kind == "images")
    MANIFESTS[damage](folder / "manifest.json")
    assert [entry.kind for entry in cache.entries()] == ["text"]
    assert [entry.folder for entry in cache.damaged()] == [folder]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*manifest\.json is damaged and made again")
        assert same(extract(model, dataset, cache=cache), expected)
    assert (len(cache.entries()), cache.damaged()) == (2, [])
    MANIFESTS[damage](folder / "manifest.json")
    assert cache.remove([folder.name[:6]]) == [folder]
    assert not folder.exists()


@pytest.mark.parametrize("in_place", [as_folder, as_pipe, as_device])
def test_what_stands_in_place_of_a_shard_is_made_again(
    make_model: Make, make_dataset: Make, cache: Cache, in_place: Callable[[Path], None]
) -> None:
    expected = extract(make_model(), make_dataset(), cache=cache)
    in_place(shards(cache)[0])
    with pytest.warns(UserWarning, match="is damaged and made again"):
        assert same(extract(make_model(), make_dataset(), cache=cache), expected)
    assert same(extract(make_model(), make_dataset(), cache=cache), expected)


def test_what_a_kill_leaves_goes_with_the_shard_or_with_the_entry(
    make_model: Make, make_dataset: Make, cache: Cache
) -> None:
    extract(make_model(), make_dataset(), cache=cache)
    shard = shards(cache)[0]
    (shard.parent / ".00000-abcd1234.safetensors").write_bytes(b"half")
    (shard.parent / ".manifest-abcd1234.json").write_bytes(b"half")
    (shard.parent / ".tmpUOqRXG").write_bytes(b"half")  # of safetensors, in versions before
    shard.unlink()
    extract(make_model(), make_dataset(), cache=cache)
    assert sorted(path.name for path in shard.parent.glob(".*")) == [
        ".manifest-abcd1234.json",
        ".tmpUOqRXG",
    ]
    assert size_on_disk(shard.parent) == sum(path.stat().st_size for path in shard.parent.iterdir())
    cache.remove([shard.parent.name])
    assert not shard.parent.exists()


def test_nothing_else_lies_beside_a_shard_while_it_is_written(
    make_model: Make, make_dataset: Make, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any step, it leaves what the cache knows as its own."""
    seen, rename = set(), Path.replace

    def replace_it(path: Path, target: Path) -> Path:
        seen.update(re.sub("-[^.]{8}", "-", other.name) for other in path.parent.iterdir())
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace_it)
    extract(make_model(), make_dataset(), cache=cache)
    known = r"(\.\d{5}-|\d{5})\.safetensors|\d{5}\.lock|(\.manifest-|manifest)\.json"
    assert seen and all(re.fullmatch(known, name) for name in seen), seen


def test_the_last_shard_that_is_there_ends_with_the_rows(cache: Cache) -> None:
    entry = cache.entry("images", {"a": "b"}, rows=14, neurons=2)
    for shard in (range(0, 6), range(12, 14)):
        entry.write(shard, torch.ones(len(shard), 2))
    assert entry.present == [range(0, 6), range(12, 14)]


def test_entries_come_by_when_they_were_last_used(cache: Cache) -> None:
    for number, used in enumerate((20, 40, 30)):
        entry = cache.entry("text", {"a": str(number)}, rows=1, neurons=1)
        os.utime(entry.folder / "manifest.json", (used, used))
    assert [entry.identity["a"] for entry in cache.entries()] == ["1", "2", "0"]


def test_what_another_process_makes_is_waited_for_last(cache: Cache) -> None:
    entry = cache.entry("text", {"a": "b"}, rows=14, neurons=2)
    others_shard, mine = range(0, 6), [range(6, 12), range(12, 14)]
    made: list[list[bool]] = []

    def encode(batches: Iterable[range]) -> Iterator[Tensor]:
        for rows in batches:
            yield torch.ones(len(rows), 2)
        made.append([entry.has(shard) for shard in mine])
        encoded.set()

    encoded = threading.Event()
    worker = threading.Thread(
        target=complete, args=(entry, encode), kwargs={"batch": 4}, daemon=True
    )
    with entry.lock(others_shard):
        worker.start()
        assert encoded.wait(timeout=20)
    worker.join(timeout=20)
    assert not worker.is_alive()
    assert made[0] == [True, True]
    assert entry.has(others_shard)


@pytest.mark.parametrize("rows", [torch.ones(1, 2).double(), torch.ones(1, 3), torch.ones(2, 2)])
def test_rows_of_another_kind_are_not_stored(cache: Cache, rows: Tensor) -> None:
    entry = cache.entry("text", {"a": "b"}, rows=1, neurons=2)
    with pytest.raises(ValueError, match=r"in place of float32 \[1, 2\]"):
        entry.write(range(0, 1), rows)
    assert not entry.has(range(0, 1))


def test_the_folder_may_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PURESCOPE_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.delenv("PURESCOPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "all"))
    assert default_folder().name == "purescope"


def test_all_that_is_missing_is_encoded_in_one_go(cache: Cache) -> None:
    """Reading ahead of what is encoded works across shards, and `progress` sees all batches."""
    entry = cache.entry("text", {"a": "b"}, rows=14, neurons=2)
    calls, seen = [], []

    def encode(batches: Iterable[range]) -> Iterator[Tensor]:
        calls.append(1)
        for rows in batches:
            yield torch.tensor([[row, -row] for row in rows]).float()

    def progress(parts: Iterable[Any], total: int) -> Iterator[Any]:
        for part in parts:
            seen.append(total)
            yield part

    rows = complete(entry, encode, batch=4, progress=progress)
    assert rows[:, 0].tolist() == list(range(14))
    assert seen == [5] * 5  # of 4, 2; 4, 2; 2 rows
    assert len(calls) == 1


def planted(cache: Cache, **fields: Any) -> Path:
    """An entry whose key fits what its manifest says, whatever that is."""
    content = {**content_of("images", {"a": "b"}, rows=10, neurons=3), **fields}
    folder = cache.folder / "images" / key_of(content)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({**content, "about": {}}))
    (folder / "00000.safetensors").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 10**18},
        {"rows": 0},
        {"rows": -5},
        {"rows": True},
        {"rows": 1.5},
        {"neurons": 10**18},
        {"identity": []},
    ],
)
def test_a_manifest_of_absurd_numbers_is_a_damaged_one(
    cache: Cache, fields: dict[str, Any]
) -> None:
    folder = planted(cache, **fields)
    assert ([found.folder for found in cache.damaged()], cache.entries()) == ([folder], [])
    assert CliRunner().invoke(command, ["ls", "--cache", str(cache.folder)]).exit_code == 0
    assert isinstance(
        CliRunner().invoke(command, ["verify", "--cache", str(cache.folder)]).exception, InputError
    )
    assert CliRunner().invoke(command, ["rm", "--all", "--cache", str(cache.folder)]).exit_code == 0
    assert not folder.exists()


def test_a_billion_rows_of_which_one_shard_is_there(cache: Cache) -> None:
    planted(cache, rows=10**9)
    start = time.process_time()
    entry = cache.entries()[0]
    assert [(shard, entry.is_damaged(shard)) for shard in entry.present] == [(range(6), True)]
    assert CliRunner().invoke(command, ["ls", "--cache", str(cache.folder)]).exit_code == 0
    assert time.process_time() - start < 2


@pytest.mark.parametrize("words", [["ls"], ["verify"], ["rm", "--all"]])
@pytest.mark.parametrize("where", ["the cache", "a kind", "an entry", "a manifest"])
def test_a_cache_that_may_not_be_read(
    cache: Cache, where: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the tests may run as somebody who may read everything."""
    folder = planted(cache)
    closed = {
        "the cache": cache.folder,
        "a kind": folder.parent,
        "an entry": folder,
        "a manifest": folder,
    }[where]
    scandir, open_it = os.scandir, os.open

    def scan(path: Any) -> Any:
        if where != "a manifest" and Path(path).is_relative_to(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def opened(path: Any, *options: Any) -> int:
        if where == "a manifest" and Path(path).name == "manifest.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_it(path, *options)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "open", opened)
    result = CliRunner().invoke(command, [*words, "--cache", str(cache.folder)])
    monkeypatch.undo()
    if where == "a manifest" and words[0] == "rm":
        assert result.exit_code == 0 and not folder.exists(), "to remove it, it need not be read"
    else:
        assert isinstance(result.exception, InputError)
        assert "the cache cannot be read" in str(result.exception) and str(closed) in str(
            result.exception
        )
        assert "Permission denied" in str(result.exception)


@pytest.mark.parametrize("words", [["ls"], ["verify"], ["rm", "--all"]])
def test_a_cache_below_a_file(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(command, [*words, "--cache", str(tmp_path / "file" / "cache")])
    assert isinstance(result.exception, InputError)
    assert "Not a directory" in str(result.exception)


def test_a_shard_that_may_not_be_read_is_not_called_damaged(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planted(cache)

    def denied(path: Path, **_: Any) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(_entry, "read_bytes", denied)
    with pytest.raises(
        InputError, match=r"cannot be read: .*00000\.safetensors: Permission denied"
    ):
        cache.entries()[0].is_damaged(range(6))
    assert folder.exists()


def test_files_of_others_are_never_removed(tmp_path: Path) -> None:
    """A folder of models is no cache, whatever option names it."""
    names = (
        "images/model/model.safetensors",
        "images/model/manifest.json",
        "text/x/0.safetensors",
        "images/a.lock",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    assert CliRunner().invoke(command, ["rm", "--all", "--cache", str(tmp_path)]).exit_code == 0
    assert all((tmp_path / name).exists() for name in names)


# --- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce] DefaultCPUAllocator: can't allocate"),
    ],
)
def test_out_of_memory_halves_the_batch(
    make_model: Make, make_dataset: Make, error: Exception
) -> None:
    model, dataset, sizes = make_model(), make_dataset(), []

    def encode(pixels: Tensor) -> Tensor:
        if len(pixels) > 3:
            raise error
        sizes.append(len(pixels))
        features: Tensor = model.encode_image(pixels)
        return features

    with pytest.warns(UserWarning, match="out of memory with") as told:
        features = extract(replace(model, encode_image=encode), dataset, batch_size=23)
    torch.testing.assert_close(features.image, extract(model, dataset).image, atol=1e-6, rtol=0)
    assert sum(sizes) == 23
    tried, kept = zip(
        *(map(int, re.findall(r"\d+", str(warning.message))) for warning in told), strict=True
    )
    assert tried[0] in ((23,) if model.lanes else (12, 11)), "each of two cores has half a batch"
    assert all(-(-failed // 2) == smaller for failed, smaller in zip(tried, kept, strict=True))
    assert sorted(set(kept), reverse=True) == list(kept) and kept[-1] == 3, "each told once"


def test_no_memory_for_a_single_image(make_model: Make, make_dataset: Make) -> None:
    def encode(pixels: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried a lot")

    with (
        pytest.warns(UserWarning),
        pytest.raises(ModelError, match="no memory for a single image: CUDA out"),
    ):
        extract(make_model(encode_image=encode), make_dataset())


def test_another_runtime_error_is_not_taken_for_memory(
    make_model: Make, make_dataset: Make
) -> None:
    def encode(pixels: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        extract(make_model(encode_image=encode), make_dataset())


def test_out_of_memory_halves_the_sentences(make_model: Make, make_dataset: Make) -> None:
    model, dataset = (
        make_model(),
        make_dataset(templates=tuple(f"{{}} {number}" for number in range(100))),
    )

    def encode(texts: list[str]) -> Tensor:
        if len(texts) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        features: Tensor = model.encode_text(texts)
        return features

    with pytest.warns(UserWarning, match="out of memory with") as told:
        features = extract(replace(model, encode_text=encode), dataset)
    assert "tiny: out of memory with 256 sentences at a time, on with 128" in str(told[0].message)
    torch.testing.assert_close(features.text, extract(model, dataset).text, atol=1e-6, rtol=0)


def test_a_shard_behind_the_last_row_is_none(cache: Cache) -> None:
    entry = cache.entry("images", {"a": "b"}, rows=12, neurons=2)
    entry.write(range(6, 12), torch.ones(6, 2))
    (entry.folder / "00002.safetensors").write_bytes(b"")
    assert entry.present == [range(6, 12)]


def test_shards_that_have_a_file_are_told_in_their_order(tmp_path: Path) -> None:
    size = _entry._SHARD
    folder = tmp_path / "kept"
    folder.mkdir()
    for number in (12, 3, 70_000, 0, 7, 11, 5):
        (folder / f"{number:05d}.safetensors").write_bytes(b"")
    for name in ("1.safetensors", "00002.txt", "x0004.safetensors"):
        (folder / name).write_bytes(b"")
    kept = SimpleNamespace(folder=folder, rows=12 * size + 5)
    found = _entry.Entry.present.fget(kept)  # type: ignore[attr-defined]
    assert [rows.start // size for rows in found] == [0, 3, 5, 7, 11, 12]
    assert [len(rows) for rows in found] == [size] * 5 + [5]
