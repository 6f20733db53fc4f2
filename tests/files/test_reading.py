"""Foreign files within their limits, and the memory that is available, also in a container."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from purescope.errors import InputError
from purescope.files import reading
from purescope.files.reading import (
    RepeatedKeyError,
    available_memory,
    check_safetensors,
    is_pointer,
    open_regular,
    open_whole,
    read_bytes,
    read_json,
    read_text,
    require_room,
    row_groups,
    text_bytes,
    unique_keys,
    unpacked_bytes,
)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files in which Linux states the limit and the use of a container."""
    monkeypatch.setattr(reading, "_CONTROL_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("950000\n")
    (tmp_path / "memory.stat").write_text(
        "anon 100000\nfile 850000\ninactive_file 500000\nactive_file 300000\n"
    )
    return tmp_path


@pytest.mark.usefixtures("container")
def test_files_that_are_kept_in_memory_make_room() -> None:
    assert available_memory() == 1_000_000 - 950_000 + 800_000


def test_a_container_without_a_limit(container: Path) -> None:
    (container / "memory.max").write_text("max\n")
    assert available_memory() > 1_000_000


@pytest.mark.parametrize("content", ["", "x", "inactive_file"])
def test_a_container_of_another_kind(content: str, container: Path) -> None:
    for name in ("memory.max", "memory.stat"):
        (container / name).write_text(content)
        assert available_memory() > 1_000_000


# --- files


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"abc"
    os.mkfifo(tmp_path / "pipe")
    for name, kind, words in (
        ("", IsADirectoryError, "Is a directory"),
        ("pipe", OSError, "not a regular file"),
        ("gone", FileNotFoundError, "No such file"),
    ):
        for opened in (open_regular, open_whole, is_pointer, read_bytes):
            with pytest.raises(kind, match=words):
                opened(tmp_path / name)


def test_a_file_that_becomes_a_pipe_is_refused_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    handles = []
    opened = os.open

    def replaced(path: Path, flags: int) -> int:
        handles.append(opened(tmp_path / "pipe", flags))
        return handles[0]

    monkeypatch.setattr(os, "open", replaced)
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "a")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])


POINTER_FILE = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(POINTER_FILE, True), (POINTER_FILE[:40], True), (POINTER_FILE[:39], False), (b"", False)],
)
def test_pointers_are_told_by_their_beginning(
    content: bytes, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    assert is_pointer(tmp_path / "a") is expected
    if expected:
        with pytest.raises(OSError, match="a git-lfs pointer"):
            open_whole(tmp_path / "a")
    else:
        with open_whole(tmp_path / "a") as file:
            assert file.read() == content


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcd")
    assert read_bytes(tmp_path / "a", most=4) == read_bytes(tmp_path / "a") == b"abcd"
    with pytest.raises(OSError, match="4 bytes, where at most 3 are read"):
        read_bytes(tmp_path / "a", most=3)


def test_texts_have_one_kind_of_line_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é\r\nb\rc\n\r".encode())
    assert read_text(tmp_path / "a") == "é\nb\nc\n\n"
    (tmp_path / "a").write_bytes("é".encode("latin-1"))
    assert read_text(tmp_path / "a", encoding="latin-1") == "é"
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "a")


def test_json_of_any_depth_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"a": [1, 2]}')
    assert read_json(tmp_path / "a") == {"a": [1, 2]}
    with pytest.raises(OSError, match="at most 5 are read"):
        read_json(tmp_path / "a", most=5)


def test_the_first_key_that_repeats_is_named() -> None:
    assert unique_keys([("a", 1), ("b", 2)]) == {"a": 1, "b": 2}
    with pytest.raises(RepeatedKeyError, match="'b' stands twice"):
        unique_keys([("a", 1), ("b", 2), ("c", 3), ("c", 3), ("b", 2)])


# --- memory


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Limits that a test sets; nothing else limits."""
    limits = {"free": 9000.0, "vms": 1000, "rss": 300, "AS": -1, "DATA": -1}
    resource = pytest.importorskip("resource")

    class Process:
        def memory_info(self) -> SimpleNamespace:
            return SimpleNamespace(vms=limits["vms"], rss=limits["rss"])

    memory = SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=limits["free"]), Process=Process
    )
    monkeypatch.setattr(reading, "psutil", memory)
    monkeypatch.setattr(reading, "_in_control_group", lambda: [])
    kinds = {resource.RLIMIT_AS: "AS", resource.RLIMIT_DATA: "DATA"}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kinds[kind]], -1))
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    return limits


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 9000),
        ({"free": 20.0}, 20),
        ({"AS": 1400}, 400),
        ({"DATA": 1400}, 1100),
        ({"AS": 5000, "DATA": 500}, 200),
        ({"AS": 900}, 0),
        ({"free": 0.0}, 0),
    ],
    ids=str,
)
def test_the_least_limit_is_what_can_be_taken(
    change: dict[str, float], expected: int, machine: dict[str, float]
) -> None:
    machine.update(change)
    assert available_memory() == expected


def test_a_container_limits_too(machine: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_in_control_group", lambda: [70])
    assert available_memory() == 70


@pytest.mark.parametrize(
    ("declared", "stored", "needed", "message"),
    [
        (2000, 10, 0, None),  # little in any file
        (2001, 667, 0, None),  # three bytes for each
        (2001, 666, 0, r"declares 2\.0 KB in a file of 666 bytes(?s:.*)at most 3 bytes of content"),
        (9000, 9000, 0, None),
        (9000, 9000, 9000, None),
        (9001, 9000, 0, r"mine declares 9\.0 KB\n(?s:.*)no more than the 9\.0 KB"),
        (10, 10, 9001, r"mine declares 10 bytes, and working with them takes 9\.0 KB\n"),
        (9001, 9000, 8000, r"mine declares 9\.0 KB\n"),
    ],
)
def test_room_is_for_what_a_file_can_hold_and_the_memory_too(
    declared: int, stored: int, needed: int, message: str | None,
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(reading, "SMALL", 2000)

    def ask() -> None:
        require_room(
            declared, stored=stored, what="mine", most_per_byte=3, error=InputError, needed=needed
        )

    if message is None:
        ask()
    else:
        with pytest.raises(InputError, match=message):
            ask()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (99_900, "99.9 KB"),
        (100_000, "100 KB"), (999_499, "999 KB"), (10**6, "1.0 MB"), (10**9, "1.0 GB"),
        (1234 * 10**9, "1,234 GB"),
    ],
)  # fmt: skip
def test_sizes_are_written_for_people(size: int, expected: str) -> None:
    assert reading._size(size) == expected


# --- Parquet and Arrow


def test_a_damaged_footer_declares_nothing_rather_than_less() -> None:
    groups = [(100, 7), (-5, 3), (40, -2), (0, 0), (1, 1)]

    class Footer:
        num_row_groups = len(groups)

        def row_group(self, place: int) -> SimpleNamespace:
            size, rows = groups[place]
            return SimpleNamespace(total_byte_size=size, num_rows=rows)

    footer: Any = Footer()
    assert row_groups(footer) == [(100, 7), (0, 3), (40, 0), (0, 0), (1, 1)]
    assert unpacked_bytes(footer) == 141


def test_texts_of_a_dictionary_count_for_each_row() -> None:
    texts = ["ab", None, "é", "ab", ""]
    array = pa.array(texts)
    for given in (array, array.cast(pa.large_utf8()), array.dictionary_encode()):
        assert text_bytes(given) == 6
    for empty in (array[:0], pa.array([None], pa.utf8())):
        assert text_bytes(empty) == 0


# --- safetensors


def safetensors_file(header: bytes, declared: int | None = None, rest: bytes = b"") -> bytes:
    length = len(header) if declared is None else declared
    return length.to_bytes(8, "little") + header + rest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors_file(b"{}"), None),
        (safetensors_file(b'{"__metadata__": {"a": "b"}}', rest=b"more"), None),
        (b"", "its header has 0 bytes, the file 0"),
        (b"\2" + bytes(6), "the file 7"),
        (bytes(8), "Expecting value"),
        (safetensors_file(b"{}", declared=3), "its header has 3 bytes, the file 10"),
        (safetensors_file(b"{}", declared=2**63), "its header has 9,223,372,036,854,775,808 bytes"),
        (safetensors_file(b"[]"), "its header is no object"),
        (safetensors_file(b'{"__metadata__": []}'), "its header is no object"),
        (safetensors_file(b'{"__metadata__": {"a": 1}}'), "its metadata a is no text"),
        (safetensors_file(b'{"a": 1, "a": 2}'), "'a' stands twice in it"),
    ],
    ids=str,
)
def test_headers_of_safetensors(content: bytes, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    if message is None:
        check_safetensors(tmp_path / "a")
    else:
        with pytest.raises(ValueError, match=message):
            check_safetensors(tmp_path / "a")


def test_a_header_has_a_most_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(safetensors_file(b"{}   "))
    monkeypatch.setattr(reading, "CONFIGURATION", 5)
    check_safetensors(tmp_path / "a")
    monkeypatch.setattr(reading, "CONFIGURATION", 4)
    with pytest.raises(ValueError, match="its header has 5 bytes, the file 13"):
        check_safetensors(tmp_path / "a")
