from pathlib import Path

import pytest

from purescope.datasets import available_datasets, load_dataset
from purescope.datasets import bundled as _bundled
from purescope.errors import DatasetError, InputError


@pytest.fixture(autouse=True)
def bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bundled, "list_names", lambda: ["emoji"])
    monkeypatch.setattr(_bundled, "describe", lambda name: (4, 2, "Emoji"))


@pytest.mark.parametrize(
    ("spec", "suggestion"),
    [
        ("cifar1O", "did you mean 'cifar10'"),
        ("Food-101", "did you mean 'food101'"),
        ("emoji", "did you mean 'bundled:emoji'"),
        ("bundle:emoji", "did you mean 'bundled:emoji'"),
        ("shards/0.tar", "did you mean 'wds:shards/0.tar'"),
        ("pets.csv", "did you mean 'manifest:pets.csv'"),
        ("emojy", "to fix:   did you mean 'bundled:emoji'"),
        ("mine.npz", "did you mean 'features:mine.npz'"),
        ("tar:shard", "expected: a name or form that `purescope datasets` lists"),
        ("", "`purescope datasets` lists"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(spec: str, suggestion: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(spec)
    assert f"unknown dataset {spec!r}" in str(caught.value)
    assert suggestion in str(caught.value)


def test_a_bare_folder_is_answered_with_its_prefix(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"did you mean 'folder:{tmp_path}'"):
        load_dataset(str(tmp_path))


def test_features_are_no_images() -> None:
    with pytest.raises(DatasetError, match="read_features"):
        load_dataset("features:mine.npz")


def test_what_to_do_with_a_broken_image_is_one_of_two_things() -> None:
    with pytest.raises(InputError, match="'error' or 'skip'"):
        load_dataset("cifar10", on_bad_image="ignore")


def test_every_kind_of_name_is_listed() -> None:
    specs = [row.spec for row in available_datasets()]
    assert all(row.present for row in available_datasets() if ":" in row.spec)
    assert specs[0] == "bundled:emoji"
    assert specs[-6:] == [
        "folder:DIR",
        "manifest:FILE",
        "wds:DIR",
        "hf:OWNER/REPO",
        "features:FILE",
        "captions:PATH",
    ]
    assert {
        "cifar10",
        "cifar100",
        "food101",
        "caltech101",
        "pets",
        "dtd",
        "eurosat",
        "stl10",
    } < set(specs)


@pytest.mark.parametrize("by", ["the flag", "HF_HUB_OFFLINE"])
def test_offline_no_download_may_be_asked_for(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", by == "HF_HUB_OFFLINE")
    with pytest.raises(
        InputError, match="a download is requested, and the network must not be used"
    ):
        load_dataset("dtd", data_root=tmp_path, download=True, offline=by == "the flag")
    with pytest.raises(DatasetError, match="dtd is not in"):
        load_dataset("dtd", data_root=tmp_path, offline=by == "the flag")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", ["folder", "manifest", "wds", "hf"])
@pytest.mark.parametrize(
    "name", ["", "~nobody-of-this-name/x", "a\0b", "x" * 5000, "\n", "*", "**x", "?", "[", "{0..1}"]
)
def test_no_name_is_a_traceback(
    prefix: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError):
        load_dataset(f"{prefix}:{name}")


@pytest.mark.parametrize("label", ["a\tb", "a\nb", " "])
def test_a_label_that_no_file_can_have_is_refused(label: str) -> None:
    with pytest.raises(DatasetError, match=r"label '(?s:.*)choose another: NAME=DATASET"):
        load_dataset(f"{label}=bundled:flags")
