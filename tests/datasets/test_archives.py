"""What `datasets` may unpack: packed files are refused, and Parquet that unpacks to too much."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from purescope.datasets import archives
from purescope.datasets.archives import Member, check_packed, read_member
from purescope.errors import DatasetError
from purescope.files import reading


def tar_of(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return path


def test_a_member_is_read_from_its_place_or_not_at_all(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    shard.write_bytes(b"0123456789")
    assert read_member(shard, Member("m", 2, 5)) == b"23456"
    with pytest.raises(DatasetError, match=r"m of .*a\.tar has 3 bytes\n  expected: 4 bytes"):
        read_member(shard, Member("m", 7, 4))
    shard.unlink()
    with pytest.raises(DatasetError, match=r"m of .*a\.tar cannot be read"):
        read_member(shard, Member("m", 0, 1))


def test_packed_files_are_refused_and_tars_taken_where_they_are_read(tmp_path: Path) -> None:
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress(b"{}"))
    plain = tmp_path / "a.json"
    plain.write_text("{}")
    tar = tar_of(tmp_path / "a.tar", "a.png", "b.txt")
    check_packed([plain], tar=False)
    check_packed([tar, plain], tar=True)
    for given, tars in (([plain, packed], False), ([packed], True), ([tar], False)):
        with pytest.raises(ValueError, match=r"is packed \((gzip|tar)\)"):
            check_packed(given, tar=tars)
    inner = tar_of(tmp_path / "b.tar", "a.png", "b.TXT.GZ")
    with pytest.raises(ValueError, match=r"b\.TXT\.GZ in .* is packed"):
        check_packed([inner], tar=True)
    with pytest.raises(ValueError, match="is packed"):  # after a tar and a plain file too
        check_packed([tar, plain, inner], tar=True)


def parquet(path: Path, groups: int | None = None, **columns: Any) -> Path:
    pyarrow.parquet.write_table(
        pyarrow.table(columns), path, compression="zstd", row_group_size=groups
    )
    return path


def declared(path: Path) -> int:
    with pyarrow.parquet.ParquetFile(path) as file:
        footer = file.metadata
        return sum(
            footer.row_group(place).total_byte_size for place in range(footer.num_row_groups)
        )


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set how much any file may unpack to, and how much a byte of it may."""

    def set_limits(small: int, per_byte: int = 0) -> None:
        monkeypatch.setattr(archives, "SMALL", small)
        monkeypatch.setattr(archives, "MAX_PER_BYTE", per_byte)
        # Groups one by one have their own check, with the same limits.
        monkeypatch.setattr(reading, "SMALL", max(small, 1_000_000))

    return set_limits


def refused(path: Path) -> bool:
    """Whether it unpacks to too much, as the error says in bytes."""
    try:
        check_packed([path], tar=False)
    except ValueError as error:
        assert f"{path.name} unpacks to " in str(error)
        return True
    return False


def test_all_groups_of_a_parquet_count(limits: Callable[..., None], tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", 100, number=[row * 7919 for row in range(300)])
    limits(declared(path))
    assert not refused(path)
    limits(declared(path) - 1)
    assert refused(path)
    # By the bytes of the file, whichever limit is the larger one.
    stored = path.stat().st_size
    per_byte = declared(path) // stored + 1
    limits(1, per_byte)
    assert not refused(path)
    limits(1, per_byte - 1)
    assert refused(path) == (declared(path) > stored * (per_byte - 1))
    limits(declared(path), 0)
    assert not refused(path)


def test_a_group_alone_may_not_be_too_much(
    limits: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path / "a.parquet", number=list(range(300)))
    limits(10**9)
    monkeypatch.setattr(reading, "available_memory", lambda: declared(path) - 1)
    with pytest.raises(DatasetError, match=r"a\.parquet declares"):
        check_packed([path], tar=False)


REPEATED: dict[str, tuple[dict[str, Any], int]] = {
    "a text": ({"text": ["x" * 50] * 40}, 2000),
    "two texts": ({"text": ["x" * 50] * 40, "more": ["y" * 5, "z" * 7] * 20}, 2000 + 240),
    "bytes": ({"picture": [b"x" * 50] * 40}, 2000),
    "in a struct": ({"image": [{"bytes": b"x" * 50}] * 40}, 2000),
    "in a list": ({"images": [[b"x" * 50] * 2] * 40}, 4000),
    "in a list of structs": ({"images": [[{"bytes": b"x" * 50}]] * 40}, 2000),
    "beside numbers": ({"text": ["x" * 50] * 40, "label": [0] * 40}, 2000),
}


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.parametrize("groups", [None, 20])
def test_a_value_counts_as_often_as_it_is_repeated(
    kind: str, groups: int | None, limits: Callable[..., None], tmp_path: Path
) -> None:
    """The footer counts it once."""
    columns, size = REPEATED[kind]
    path = parquet(tmp_path / "a.parquet", groups, **columns)
    assert declared(path) < size
    limits(size)
    assert not refused(path)
    limits(size - 1)
    assert refused(path)


def test_what_numbers_take_counts_beside_few_repeated_values(
    limits: Callable[..., None], tmp_path: Path
) -> None:
    numbers = [row * 7919 for row in range(300)]
    path = parquet(tmp_path / "a.parquet", number=numbers, text=["x"] * 300)
    limits(declared(path) - 1)
    assert declared(path) > 300 and refused(path)


def test_what_begins_like_parquet_and_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(20))
    with pytest.raises((OSError, ValueError)):
        check_packed([path], tar=False)
    (tmp_path / "a.txt").write_bytes(b"PAR" + bytes(20))
    check_packed([tmp_path / "a.txt"], tar=False)
