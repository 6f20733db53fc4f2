"""Test ``purescope datasets`` as a user types it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from purescope.cli.catalogue import datasets
from purescope.datasets.torchvision import BENCHMARKS
from purescope.errors import DatasetError
from tests.datasets.pictures import picture

pytestmark = pytest.mark.slow


def test_the_list_names_every_kind() -> None:
    result = CliRunner().invoke(datasets, [])
    assert result.exit_code == 0
    for name in (*BENCHMARKS, "manifest:FILE", "wds:DIR", "hf:OWNER/REPO", "bundled:flags"):
        assert name in result.output


def test_brackets_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would read `[hf]` as a style."""
    output = " ".join(CliRunner().invoke(datasets, []).output.split())
    assert re.search(
        r"with (yes )?the extra \[hf\]; or a folder", output
    )  # a cell may take two lines
    (tmp_path / "[data]").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "Datasets in [data]" in CliRunner().invoke(datasets, ["--check", "[data]"]).output


def test_check_says_for_each_set_what_it_is_and_how_to_get_it(tmp_path: Path) -> None:
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
