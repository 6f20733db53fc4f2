"""How much the files of a folder unpack to, before `datasets` unpacks them into its cache on this disk."""

from collections.abc import Iterable
from pathlib import Path

from purescope.datasets._tar import members
from purescope.errors import DatasetError
from purescope.files.memory import SMALL, require_room, text_bytes
from purescope.files.reading import open_regular

MOST_PER_BYTE = 1000
"""Bytes of content for each byte of a Parquet file, which holds images that are packed already."""

_PARQUET = b"PAR1"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def check_unpacked(files: Iterable[Path], *, tar: bool) -> None:
    """Refuse packed files, and tables that unpack to far more than their files.

    Args:
        files: the local ones, that are opened before an image is asked for.
        tar: whether tar shards are read as they are.

    Raises:
        OSError, ValueError: one is packed, or no table; the message says which.
        PurescopeError: one unpacks to more than there is room for.
    """
    from datasets.utils.extract import Extractor  # type: ignore[import-untyped]

    for file in files:
        packed = Extractor.infer_extractor_format(str(file))  # as `datasets` decides, by what it begins with
        if packed and not (packed == "tar" and tar):
            raise ValueError(f"{file} is packed ({packed}); unpack it and remove it")
        if packed == "tar":
            _check_tar(file)
            continue
        with open_regular(file) as opened:
            is_parquet = opened.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            _check_parquet(file)


def _check_tar(file: Path) -> None:
    """Refuse members that `datasets` would unpack; `members` refuses sparse ones that are longer than the file."""
    for member in members(file):
        if member.name.lower().endswith(_PACKED):
            raise ValueError(f"{member.name} in {file} is packed; unpack it and pack the tar again")


def _check_parquet(file: Path) -> None:
    """Hold what the footer declares, and what dictionaries repeat, against the file and the memory."""
    import pyarrow.parquet

    stored = file.stat().st_size
    limit = max(SMALL, stored * MOST_PER_BYTE)
    total, most = 0, 0
    with pyarrow.parquet.ParquetFile(file) as opened:
        footer = opened.metadata
    # Not of each group: where what a footer says of a column in a group is damaged, pyarrow ends the process.
    columns = [footer.schema.column(place) for place in range(footer.num_columns)]
    repeating = {column.path for column in columns if column.physical_type == "BYTE_ARRAY"}
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        declared = max(0, group.total_byte_size)
        total += declared
        # A group is unpacked as a whole, and goes to the cache before the next one is.
        require_room(declared, stored=stored, what=file.name, most_per_byte=MOST_PER_BYTE, error=DatasetError)
        if repeating:
            most += declared * max(0, group.num_rows)
    if most > limit:  # if each value were the longest one
        total = max(total, _repeated(file, sorted(repeating)))
    if total > limit:
        raise ValueError(
            f"{file.name} unpacks to {total:,} bytes, from {stored:,}: more than {MOST_PER_BYTE:,} for each byte"
        )


def _repeated(file: Path, columns: list[str]) -> int:
    """How many bytes of text stand in columns that name their values by numbers."""
    import pyarrow
    import pyarrow.parquet

    total = 0
    with pyarrow.parquet.ParquetFile(file, read_dictionary=columns) as opened:
        for index in range(opened.metadata.num_row_groups):
            for column in columns:
                table = opened.read_row_group(index, columns=[column])
                for chunk in table.column(0).chunks:
                    leaf = chunk
                    while pyarrow.types.is_nested(leaf.type) and not pyarrow.types.is_dictionary(leaf.type):
                        is_struct = pyarrow.types.is_struct(leaf.type)
                        leaf = leaf.field(0) if is_struct else leaf.flatten()
                    total += text_bytes(leaf) if pyarrow.types.is_dictionary(leaf.type) else leaf.nbytes
    return total
