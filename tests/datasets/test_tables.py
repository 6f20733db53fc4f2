"""Columns of files as text: what is wanted, with its lines, and only where there is room."""

import math
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from purescope.datasets import tables
from purescope.datasets.tables import read_csv, read_parquet

LONGEST = 131_072  # characters of a cell


def written(folder: Path, compression: str = "none", **columns: Any) -> Path:
    path = folder / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression=compression)
    return path


def test_wanted_columns_are_read_as_text_with_their_lines(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        " Path ": [" a.png ", "b.png", None],
        "label": [1.0, None, 2.5],
        "flag": [True, False, True],
        "other": [1, 2, 3],
    }
    table = read_parquet(written(tmp_path, **columns), {"path", "label", "flag"})
    assert table.columns == {
        " Path ": ["a.png", "b.png", ""],
        "label": ["1", "", "2.5"],
        "flag": ["True", "False", "True"],
    }
    assert list(table.lines) == [1, 2, 3] and list(table.header) == list(columns)


def test_numbers_that_are_not_finite_stay_what_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, label=[math.inf, -math.inf, math.nan])
    assert read_parquet(path, {"label"}).columns["label"] == ["inf", "-inf", "nan"]


def test_texts_of_any_type_are_read(tmp_path: Path) -> None:
    large = pyarrow.array(["x", None], pyarrow.large_string())
    numbers = pyarrow.array([3, 4], pyarrow.int64()).dictionary_encode()
    path = written(tmp_path, large=large, numbers=numbers, none=[None, None])
    assert read_parquet(path, {"large", "numbers", "none"}).columns == {
        "large": ["x", ""],
        "numbers": ["3", "4"],
        "none": ["", ""],
    }


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.date32()])
def test_what_is_no_text_is_named(kind: pyarrow.DataType, tmp_path: Path) -> None:
    path = written(tmp_path, path=pyarrow.array([None], kind), label=[0])
    words = "date32" if kind == pyarrow.date32() else "bytes"
    with pytest.raises(ValueError, match=f"the column path holds {words}"):
        read_parquet(path, {"path"})
    assert read_parquet(path, {"label"}).columns == {"label": ["0"]}


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()])
@pytest.mark.parametrize("letter", ["x", "\U0001f408"])
def test_a_cell_is_as_long_as_a_csv_cell_may_be(
    letter: str, kind: pyarrow.DataType, tmp_path: Path
) -> None:
    cells = pyarrow.array(["short", letter * LONGEST], kind)
    assert len(read_parquet(written(tmp_path, name=cells), {"name"}).columns["name"][1]) == LONGEST
    cells = pyarrow.array(["short", letter * (LONGEST + 1)], kind)
    size = "524,292 bytes" if len(letter.encode()) == 4 else "131,073 characters"
    with pytest.raises(ValueError, match=f"the column name has a cell of {size}"):
        read_parquet(written(tmp_path, name=cells), {"name"})


@pytest.mark.parametrize(("compression", "letters"), [("none", 10), ("zstd", 5000)])
def test_room_is_asked_for_cells_and_for_copies_of_what_is_unpacked(
    compression: str, letters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 bytes a cell, and three copies of what the file does not show."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(tables, "require_room", lambda size, **more: asked.update(more, size=size))
    texts = [str(row % 10) * letters + f"{row}" for row in range(8)]
    path = written(tmp_path, compression, path=texts, label=list(range(8)), other=texts)
    read_parquet(path, {"path", "label"})
    with pyarrow.parquet.ParquetFile(path) as file:
        unpacked = max(0, file.metadata.row_group(0).total_byte_size - path.stat().st_size)
    cells = 8 * 2 * 150
    assert (unpacked > cells) == (compression == "zstd") and (compression == "zstd" or not unpacked)
    assert asked["size"] == max(cells, unpacked) and asked["stored"] == path.stat().st_size
    assert asked["needed"] == cells + 3 * unpacked and asked["most_per_byte"] == 1000


def test_a_name_that_stands_twice_is_refused_and_one_that_stands_once_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b, A\n1,2,3\n")
    with pytest.raises(ValueError, match="two columns are called 'a'"):
        read_csv(path, {"b"})


def test_rows_of_a_csv_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(' Path ,label,more\n a.png ,1,x\n\n"b\n.png", 2 ,y\n')
    table = read_csv(path, {"path", "label"})
    assert table.columns == {" Path ": ["a.png", "b\n.png"], "label": ["1", "2"]}
    assert list(table.lines) == [2, 5] and table.separator == ","
    path.write_text("path,label\na.png,1\nb.png\n")
    with pytest.raises(ValueError, match="line 3 has 1 cells, the header 2"):
        read_csv(path, {"path"})


NEEDED = [{"path", "file"}, {"label", "class"}]


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("path;label", ";"),
        ("Path\tlabel", "\t"),
        ("file | class", "|"),
        ("path,label;x", ","),
        ("path,label", ","),
        ("a;b", ";"),  # none fits: what gives several columns
        ("a,b;c", ","),
        ("path", ","),
    ],
)
def test_the_separator_is_the_one_with_which_the_header_fits(
    header: str, separator: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(header + "\n")
    assert read_csv(path, set(), NEEDED).separator == separator
