"""Room for a file of JSON, and names of images that no file can have."""

import json
from pathlib import Path

import pytest

from purescope.datasets.captions.listing import LARGEST, require_room_for
from purescope.datasets.captions.loading import load
from purescope.errors import DatasetError
from purescope.files import reading
from tests.datasets.captions.formats import write_images


@pytest.mark.parametrize("size", [1000, 3 * LARGEST])
def test_a_file_needs_twelve_times_what_is_read_of_it(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the largest is never read: its size is refused later, and not for the memory."""
    file = tmp_path / "a.json"
    with file.open("wb") as stream:
        stream.truncate(size)
    needed = 12 * min(size, LARGEST)
    monkeypatch.setattr(reading, "available_memory", lambda: needed)
    require_room_for(file)
    monkeypatch.setattr(reading, "available_memory", lambda: needed - 1)
    with pytest.raises(DatasetError, match="of memory that are free here"):
        require_room_for(file)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "nul\0.png"])
def test_a_name_that_no_file_can_have_is_not_there(name: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    rows = [{"file_name": name, "text": "x"}, {"file_name": "a.png", "text": "y"}]
    for order in (rows, rows[::-1]):
        text = "\n".join(map(json.dumps, order))
        (tmp_path / "metadata.jsonl").write_text(text)
        with pytest.raises(DatasetError, match=r"is not there|do not exist|leads out"):
            load(str(tmp_path))


@pytest.mark.parametrize("name", ["captions.txt", "Captions.TXT"])
def test_a_list_is_found_in_any_case(name: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / name).write_text("image,caption\na.png,one\nc.png,two\n")
    assert load(str(tmp_path)).captions == (("one",), ("two",))
