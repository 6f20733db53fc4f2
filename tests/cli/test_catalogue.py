"""``purescope models``, ``datasets`` and ``cache`` as a user types them."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from purescope.cli.catalogue import datasets
from purescope.datasets.torchvision import BENCHMARKS
from purescope.errors import DatasetError
from tests.cli.calls import QUICK, fails, run
from tests.datasets.pictures import picture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vocabulary")]


def test_catalogues_name_what_is_bundled(capsys) -> None:
    assert run("models") == 0
    assert "bundled:laclip" in capsys.readouterr().out
    assert run("datasets") == 0
    listed = capsys.readouterr().out
    assert "bundled:fashion-mnist" in listed and "cifar100" in listed


def test_the_cache_is_listed_verified_and_removed(folder, tmp_path, capsys) -> None:
    cache = ["--cache", tmp_path / "cache"]
    command = ["sweep", "bundled:clip", "--data", f"folder:{folder}", "--draws", 1, *QUICK, *cache]
    assert run(*command, "--out", tmp_path / "a") == 0
    assert run("cache", "ls", *cache) == 0
    listed = capsys.readouterr().out
    assert (
        "Bundled CLIP" in listed and "pets" in listed and "100%" in listed and "3 entries" in listed
    )  # images, classes, vocabulary
    assert run("cache", "verify", *cache) == 0
    assert "3 shards of 3 entries" in capsys.readouterr().out
    [shard] = (tmp_path / "cache" / "images").glob("*/*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    key = shard.parent.name[:8]
    message = fails(capsys, "cache", "verify", *cache)
    assert "1 of 3 shards" in message and key in message
    assert run(*command, "--out", tmp_path / "b") == 0
    assert "damaged and made again" in capsys.readouterr().err
    assert (tmp_path / "b" / "results.csv").read_bytes() == (
        tmp_path / "a" / "results.csv"
    ).read_bytes()
    assert "name the keys" in fails(capsys, "cache", "rm", *cache)
    assert run("cache", "rm", key, *cache) == 0
    assert "removed 1 entries" in capsys.readouterr().out
    assert run("cache", "rm", "--all", *cache) == 0
    assert run("cache", "ls", *cache) == 0
    assert "0 entries" in capsys.readouterr().out


def test_the_list_names_every_kind() -> None:
    result = CliRunner().invoke(datasets, [])
    assert result.exit_code == 0
    for name in (*BENCHMARKS, "manifest:FILE", "wds:DIR", "hf:OWNER/REPO", "bundled:flags"):
        assert name in result.output


def test_brackets_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise rich would read `[hf]` as a style."""
    output = " ".join(CliRunner().invoke(datasets, []).output.split())
    assert re.search(
        r"with (yes )?the extra \[hf\]; or a folder", output
    )  # a cell may take two lines
    (tmp_path / "[data]").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "Datasets in [data]" in CliRunner().invoke(datasets, ["--check", "[data]"]).output


def test_check_prints_for_each_dataset_what_it_is_and_how_to_get_it(tmp_path: Path) -> None:
    place = tmp_path / "eurosat" / "2750" / "River"
    place.mkdir(parents=True)
    (place / "River_1.png").write_bytes(picture(1))
    result = CliRunner().invoke(datasets, ["--check", str(tmp_path)])
    assert isinstance(result.exception, DatasetError)  # the command line exits with code 2
    assert result.exception.came == f"incomplete in {tmp_path}: eurosat"
    for name, benchmark in BENCHMARKS.items():
        assert f"{name}: " in result.output and benchmark.page in result.output
    assert "1 of 27,000" in result.output and "- of 10,000" in result.output
    assert f"dtd: {tmp_path / 'dtd' / 'dtd'} does not exist" in result.output


def test_check_of_a_folder_where_all_is_missing_is_no_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(datasets, ["--check", str(tmp_path)])
    assert (result.exit_code, result.output.count("missing")) == (0, len(BENCHMARKS))


def test_check_of_no_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(datasets, ["--check", str(tmp_path / "gone")])
    assert isinstance(result.exception, DatasetError)
