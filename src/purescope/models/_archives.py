"""Zips as torch writes them: one list of files, at the end, that every reader finds."""

import struct
import zipfile
from pathlib import Path

from purescope.models._pickles import LARGEST, require_harmless

_END = struct.Struct("<4s4H2LH")  # and after it nothing, not even a comment
_END_64 = struct.Struct("<4sQ2H2L4Q")
_PLACE_64 = struct.Struct("<4sLQL")


def require_plain(path: Path) -> str:
    """Look whether a zip is one as torch writes it, and whether its pickle can be read.

    Python takes the list of files that is next to the end, torch the one at the stated place, and of two files of
    one name each takes another: what is looked at here must be what torch reads.

    Args:
        path: of a zip.

    Returns:
        What is wrong with it; empty where nothing is.

    Raises:
        pickle.UnpicklingError: its pickle is harmful or broken.
        zipfile.BadZipFile: it is no zip.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            return f"{packed[0]} compressed"
        size = path.stat().st_size
        if sum(entry.file_size for entry in entries) > size:
            return f"more than its {size:,} bytes in its list of files"
        if wrong := _wrong_list(path, archive):
            return wrong
        for entry in entries:
            if entry.filename.lower().endswith("/data.pkl"):
                with archive.open(entry) as file:
                    require_harmless(file.read(LARGEST))
    return ""


def _wrong_list(path: Path, archive: zipfile.ZipFile) -> str:
    """What makes readers find different files in it; empty where nothing does."""
    entries = archive.infolist()
    names = {entry.filename.lower() for entry in entries}  # to torch's reader, both cases are one
    if len(names) < len(entries):
        return "two files of one name"
    if any(entry.filename != entry.orig_filename for entry in entries):
        return "a file of two names"
    with path.open("rb") as file:
        start = file.read(4)
        size = file.seek(0, 2)
        tail = min(size, _END.size + _PLACE_64.size + _END_64.size)
        file.seek(size - tail)
        end = file.read(tail)
    if start != b"PK\x03\x04":
        return "something before its first file"
    signature, *_, count, length, place, comment = _END.unpack(end[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        return "something after its list of files"
    last = size - _END.size
    at = end[: -_END.size]
    if at[-_PLACE_64.size :][:4] == b"PK\x06\x07":
        *_, where, _ = _PLACE_64.unpack(at[-_PLACE_64.size :])
        last -= _PLACE_64.size + _END_64.size
        signature, rest, *_, count, length, place = _END_64.unpack(at[: _END_64.size])
        if signature != b"PK\x06\x06" or rest != _END_64.size - 12 or where != last:
            return "two lists of files"
    if place + length != last or count != len(entries):
        return "two lists of files"
    return ""
