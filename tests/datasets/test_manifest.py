"""Test tables of paths and labels, as users write them."""

import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from purescope.datasets import load_dataset
from purescope.datasets.manifest import _CLASS, _LABEL, _PATH
from purescope.datasets.tables import read_parquet
from purescope.errors import DatasetError
from tests.datasets.pictures import picture, shades


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make images 1.png to 4.png of shades 1 to 4, the last one in another folder."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    for shade in (1, 2, 3):
        (tmp_path / "set" / "images" / f"{shade}.png").write_bytes(picture(shade))
    (tmp_path / "4.png").write_bytes(picture(4))
    return tmp_path / "set"


def write(place: Path, text: str, name: str = "my pets.csv") -> str:
    (place / name).write_text(text, encoding="utf-8")
    return f"manifest:{place / name}"


def test_labels_and_class_names(place: Path) -> None:
    spec = write(
        place,
        "path,label,class\nimages/2.png,1,dog_s\nimages/1.png,0,zebra\nimages/3.png,1,dog_s\n",
    )
    dataset = load_dataset(spec)
    assert (dataset.name, dataset.spec) == ("my_pets", spec)
    assert dataset.classes == ("zebra", "dog_s"), "in the order of labels, not of the alphabet"
    assert dataset.display_names == ("zebra", "dog s")
    assert dataset.labels.tolist() == [1, 0, 1]
    assert shades(dataset) == [2, 1, 3]


@pytest.mark.parametrize("column", ["class", "label"])
def test_class_names_alone_are_sorted(place: Path, column: str) -> None:
    dataset = load_dataset(
        write(place, f"path,{column}\nimages/2.png,dog\nimages/1.png,cat\nimages/3.png,dog\n")
    )
    assert (dataset.classes, dataset.labels.tolist()) == (("cat", "dog"), [1, 0, 1])


def test_the_ending_may_be_in_capitals(place: Path) -> None:
    assert load_dataset(
        write(place, "path,class\nimages/2.png,dog\n../4.png,cat\n", "PETS.CSV")
    ).classes == (
        "cat",
        "dog",
    )


def test_a_path_that_changed_on_the_disk_is_not_read(place: Path) -> None:
    """The table must have checksums for this."""
    file = place / "t.parquet"
    table = pyarrow.table({"path": ["images/1.png", "images/2.png"], "class": ["cat", "dog"]})
    pyarrow.parquet.write_table(
        table, file, compression="none", use_dictionary=False, write_page_checksum=True
    )
    assert load_dataset(f"manifest:{file}").classes == ("cat", "dog")
    content = file.read_bytes()
    place_of_one = content.index(
        b"images/1.png\x0c"
    )  # before the length of the next one: not in the statistics
    file.write_bytes(content[:place_of_one] + b"images/3" + content[place_of_one + 8 :])
    with pytest.raises(DatasetError, match=r"t\.parquet cannot be read"):
        load_dataset(f"manifest:{file}")


def test_the_longest_cell_counts_letters_and_not_bytes(place: Path) -> None:
    longest = "\U0001f408" * 131_072  # as many letters as Python reads of a CSV, of four bytes each
    for more in (0, 1):
        table = pyarrow.table({"path": ["images/1.png"], "class": [longest + "\U0001f408" * more]})
        pyarrow.parquet.write_table(table, place / "t.parquet", compression="none")
        if more:
            with pytest.raises(ValueError, match="the column class has a cell of"):
                read_parquet(place / "t.parquet", {"path", "class"})
        else:
            assert read_parquet(place / "t.parquet", {"path", "class"}).columns["class"] == [
                longest
            ]


def test_there_must_be_memory_for_copies_of_the_texts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place / "t.parquet"
    names = [str(number) * 50_000 for number in range(10)]
    table = pyarrow.table({"path": ["images/1.png"] * 10, "class": names})
    pyarrow.parquet.write_table(table, file, compression="zstd", use_dictionary=False)
    monkeypatch.setattr("purescope.files.reading.available_memory", lambda: 10**6)
    with pytest.raises(
        DatasetError, match=r"declares \d+ KB, and working with them takes 1\.\d MB"
    ):
        load_dataset(f"manifest:{file}")


def test_labels_alone_take_the_names_beside_the_table(place: Path) -> None:
    spec = write(place, "path,label\nimages/2.png,2\nimages/1.png,0\n")
    with pytest.raises(DatasetError, match=r"class_name.*classnames\.txt"):
        load_dataset(spec)
    (place / "classnames.txt").write_text("cat\nbird_s\ndog\n")
    dataset = load_dataset(spec)
    assert dataset.classes == dataset.display_names == ("cat", "bird_s", "dog")
    assert dataset.labels.tolist() == [2, 0]
    (place / "classnames.txt").write_text("cat\ndog\n")
    with pytest.raises(DatasetError, match=r"line 2: the label 2\n.*2 names"):
        load_dataset(spec)


def test_paths_may_be_absolute_or_lead_out(place: Path) -> None:
    text = f"path,class\n../4.png,a\n{place / 'images' / '1.png'},b\n"
    dataset = load_dataset(write(place, text))
    assert shades(dataset) == [4, 1]
    (place / "images" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"image images/1\.png"):
        dataset.images[1]


@pytest.mark.parametrize("path", _PATH)
@pytest.mark.parametrize("label", [*_LABEL, *_CLASS])
def test_every_usual_name_of_a_column(place: Path, path: str, label: str) -> None:
    spec = write(
        place, f"\ufeff{path.upper()} , {label.title()}\nimages/1.png, b\nimages/2.png, a\n"
    )
    dataset = load_dataset(spec)
    assert (dataset.classes, dataset.labels.tolist(), shades(dataset)) == (
        ("a", "b"),
        [1, 0],
        [1, 2],
    )


def test_names_that_look_like_something_else_stay_text(place: Path) -> None:
    spec = write(
        place, 'path,class\nimages/1.png,NA\nimages/2.png,"01, or ""one"""\nimages/3.png,NA\n'
    )
    assert load_dataset(spec).classes == ('01, or "one"', "NA")


def test_parquet(place: Path) -> None:
    columns = {
        "file_name": ["images/1.png", "images/2.png"],
        "label": [1, 0],
        "class_name": ["b", "a"],
        "x": [0.5, 1],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), place / "table.parquet")
    dataset = load_dataset(f"manifest:{place / 'table.parquet'}")
    assert (dataset.name, dataset.classes, dataset.labels.tolist()) == ("table", ("a", "b"), [1, 0])
    assert shades(dataset) == [1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["images/1.png"], "label": [0.5]}, r"line 1: the label '0\.5'"),
        ({"path": ["images/1.png"], "label": [None]}, "line 1: an empty cell"),
        ({"path": [b"images/1.png"], "label": [1]}, "the column path holds bytes"),
        ({"image": ["images/1.png"], "score": [1]}, "has the columns image, score"),
        ({"score": [1]}, "has the columns score"),
    ],
)
def test_a_parquet_that_does_not_fit(
    place: Path, columns: dict[str, list[object]], message: str
) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), place / "table.parquet")
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(f"manifest:{place / 'table.parquet'}")
    assert "table.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns none"),
        ("path,label\n", r"has no row"),
        ("path,score\nimages/1.png,1\n", r"has the columns path, score"),
        ("label,class\n1,a\n", r"has the columns label, class"),
        ("path,class,Path\nimages/1.png,a,images/2.png\n", r"two columns are called 'path'"),
        ("path,class\nimages/1.png\n", r"line 2 has 1 cells, the header 2"),
        ("path,class\nimages/1.png,a,b\n", r"line 2 has 3 cells"),
        ("path,class\nimages/1.png,a\n\nimages/2.png, \n", r"line 4: an empty cell"),
        ("path,class\n,a\n", r"line 2: an empty cell"),
        ('path,class\nimages/1.png,"a\n', r"cannot be read: unexpected end of data"),
        ("path,label\nimages/1.png,0\nimages/2.png,1O\n", r"line 3: the label '1O'"),
        ("path,label,class\nimages/1.png,-1,a\nimages/2.png,0,b\n", r"line 2: the label '-1'"),
        (
            "path,label,class\nimages/1.png,0,a\nimages/2.png,0,b\n",
            r"line 3: label 0 is 'b', and 'a' before",
        ),
        (
            "path,label,class\nimages/1.png,0,a\nimages/2.png,2,b\n",
            r"labels up to 2, and no row with label 1",
        ),
        ("path,label,class\nimages/1.png,1,a\nimages/2.png,2,b\n", r"no row with label 0"),
        ("path,class\nimages/1.png,a\nimages/2.png,a\n", r"has one class, 'a'"),
        (
            "path,class\nimages/8.png,a\nimages/1.png,b\nimages,b\n",
            r"2 of 3 images.*images/8\.png \(line 2\), images ",
        ),
        ("path,class\nimages/1.png\0,a\nimages/2.png,b\n", r"cannot be read|do not exist"),
        (f"path,class\n{'x' * 5000},a\nimages/2.png,b\n", r"cannot be read: .*too long"),
    ],
)
def test_a_table_that_does_not_fit(place: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(write(place, text))
    assert "my pets" in str(caught.value) or "my_pets" in str(caught.value)


def test_only_the_first_few_missing_files_are_named(place: Path) -> None:
    rows = "".join(f"gone/{i}.png,{i % 2}\n" for i in range(1000))
    with pytest.raises(DatasetError, match="1000 of 1000 images") as caught:
        load_dataset(write(place, "path,class\n" + rows))
    assert "gone/2.png" in str(caught.value) and "gone/3.png" not in str(caught.value)


def test_no_table(place: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        load_dataset(f"manifest:{place / 'gone.csv'}")
    with pytest.raises(DatasetError, match=r"ends in \.csv or \.tsv or \.parquet"):
        load_dataset(f"manifest:{place / 'images' / '1.png'}")
    (place / "latin.csv").write_bytes("path,class\nimages/1.png,café\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"latin\.csv cannot be read: .*utf-8"):
        load_dataset(f"manifest:{place / 'latin.csv'}")


def test_fingerprint_is_of_the_content(place: Path) -> None:
    text = "path,label,class\nimages/1.png,0,a\nimages/2.png,1,b\n"
    before = load_dataset(write(place, text)).fingerprint
    assert load_dataset(write(place, text, "other.csv")).fingerprint == before
    assert load_dataset(write(place, text.replace("1,b", "1,c"))).fingerprint != before
    (place / "images" / "2.png").write_bytes(picture(9))
    assert load_dataset(write(place, text)).fingerprint != before


@pytest.mark.filterwarnings(
    "ignore:.* classes share a name:UserWarning"
)  # damage may make two names one
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_damaged_table_is_an_error_of_ours_or_reads_as_it_says(place: Path, suffix: str) -> None:
    columns = {
        "path": [f"images/{i}.png" for i in (1, 2, 3)],
        "label": [0, 1, 0],
        "class": ["cat", "dog", "cat"],
    }
    file = place / f"table.{suffix}"
    if suffix == "csv":
        write(
            place,
            "\n".join(
                map(",".join, zip(*([k, *map(str, v)] for k, v in columns.items()), strict=True))
            ),
            file.name,
        )
    else:
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    whole, rng, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        file.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            load_dataset(f"manifest:{file}")
        except DatasetError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "a.csv"), ("\t", "a.csv"), ("\t", "a.tsv"), ("|", "a.csv")]
)
def test_what_separates_cells_is_found_and_noted(place: Path, separator: str, name: str) -> None:
    table = "id,path,class\n1,images/2.png,dog\n2,images/1.png,cat\n".replace(",", separator)
    with pytest.warns(UserWarning, match="its cells are separated by"):
        dataset = load_dataset(write(place, table, name))
    assert (shades(dataset), dataset.labels.tolist()) == ([2, 1], [1, 0])


def test_columns_that_do_not_fit_are_named_whatever_separates_them(place: Path) -> None:
    with pytest.raises(DatasetError, match="has the columns datei, klasse"):
        load_dataset(write(place, "datei;klasse\nimages/2.png;dog\n"))


def test_a_semicolon_in_a_table_with_commas(place: Path) -> None:
    dataset = load_dataset(
        write(place, "path,class,a;b\nimages/2.png,dog;hound,1\nimages/1.png,cat,2\n")
    )
    assert dataset.classes == ("cat", "dog;hound")


def test_paths_that_windows_has_written(place: Path) -> None:
    (place / "images" / "back\\slash.png").write_bytes(picture(9))
    table = "path,class\nimages\\2.png,dog\n..\\4.png,cat\nimages/back\\slash.png,cat\n"
    with pytest.warns(UserWarning, match=r": 2 paths are read with / in place of"):
        dataset = load_dataset(write(place, table))
    assert shades(dataset) == [2, 4, 9]


def test_splits_of_a_table_are_noted(place: Path) -> None:
    table = "path,class,split\nimages/2.png,dog,train\nimages/1.png,cat,test\n"
    with pytest.warns(
        UserWarning, match="all rows are read, those of the splits test, train together"
    ):
        assert len(load_dataset(write(place, table))) == 2
    load_dataset(write(place, table.replace("train", "test")))
    # Three splits in a set, whose order is another each time.
    rows = zip("123", "aba", "fda", strict=True)
    lines = [f"images/{shade}.png,{name},{split}\n" for shade, name, split in rows]
    with pytest.warns(UserWarning, match="of the splits a, d, f together"):
        load_dataset(write(place, "path,class,split\n" + "".join(lines)))


def test_class_names_that_are_numbers_stand_in_their_order(place: Path) -> None:
    rows = "".join(f"images/{shade}.png,{name}\n" for shade, name in ((1, 10), (2, 9), (3, 0)))
    with pytest.warns(UserWarning, match=r"sorted by value \(0, 9, 10\)"):
        dataset = load_dataset(write(place, f"path,class\n{rows}"))
    assert (dataset.classes, dataset.labels.tolist()) == (("0", "9", "10"), [2, 1, 0])


@pytest.mark.parametrize("text", ["0.0", "0.", "0"])
def test_whole_numbers_with_a_point_are_labels(place: Path, text: str) -> None:
    (place / "classnames.txt").write_text("zebra\ndog\n")
    dataset = load_dataset(
        write(place, f"path,label\nimages/2.png,{text.replace('0', '1', 1)}\nimages/1.png,{text}\n")
    )
    assert (dataset.classes, dataset.labels.tolist()) == (("zebra", "dog"), [1, 0])
