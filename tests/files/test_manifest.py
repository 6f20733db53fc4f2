"""A manifest is what its run wrote: what else stands in it is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from purescope.errors import InputError, OutputError
from purescope.files.manifest import (
    MANIFEST,
    check_hash,
    hash_of,
    is_ours,
    is_timing,
    looks_like_ours,
    own_manifest,
    read_manifest,
    versions,
    write_manifest,
)

PAIR = {"model": "m", "dataset": "d"}


def test_versions_are_of_the_library_its_libraries_and_python() -> None:
    assert {"purescope", "torch", "numpy", "python"} <= set(versions())


@pytest.mark.parametrize(
    ("manifest", "ours"),
    [
        (None, False),
        ({}, False),
        ({"purescope": "0.1"}, True),
        ({"versions": {"purescope": "0.1"}}, True),
        ({"versions": {"torch": "2"}}, False),
        ({"versions": ["purescope"]}, False),
        ({"versions": "purescope"}, False),
    ],
)
def test_ours_names_the_library(manifest: dict[str, Any] | None, ours: bool) -> None:
    assert is_ours(manifest) == ours


GOOD: dict[str, Any] = {
    "purescope": "0.1",
    "settings": {
        "keep": [1, 2],
        "space": "weights",
        "cache": None,
        "all": True,
        "more": {"a": 1.5},
    },
    "models": [{"label": "a", "spec": "b"}],
    "datasets": [{"name": "d"}],
    "threads": 2,
    "timings": [{**PAIR, "seconds": {"encode": 1.5, "sweep": 2}}],
    "hashes": {"results.csv": ["a"]},
}


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("versions", ["torch"], "list of versions"),
        ("versions", {"torch": 2}, "list of versions"),
        ("tables", "results", "list of tables"),
        ("tables", ["results", 3], "list of tables"),
        ("tables", {"results": "a"}, "list of tables"),
        ("settings", ["keep"], "list of settings"),
        ("models", [{"label": "a"}], "list of models"),
        ("models", ["a"], "list of models"),
        ("models", [{"label": "a", "spec": 3}], "list of models"),
        ("threads", "2", "number"),
        ("threads", True, "number"),
        ("started", 3, "time"),
        ("timings", [PAIR], "list of timings"),
        ("timings", [{**PAIR, "seconds": {"encode": "1"}}], "list of timings"),
        ("timings", [{"seconds": {"encode": 1}}], "list of timings"),
        ("hashes", {"results.csv": "a"}, "list of hashes"),
    ],
)
def test_an_entry_of_another_type_is_named(key: str, value: Any, what: str, tmp_path: Path) -> None:
    write_manifest(GOOD, tmp_path)
    assert read_manifest(tmp_path) == GOOD
    write_manifest({**GOOD, key: value}, tmp_path)
    with pytest.raises(OutputError, match=f"{key} is not a {what}"):
        read_manifest(tmp_path)
    others = {**GOOD, key: value}
    del others["purescope"]
    if key != "versions":  # of somebody else, which is not ours to judge
        write_manifest(others, tmp_path)
        assert read_manifest(tmp_path) == others


def test_a_timing_has_names_and_seconds() -> None:
    assert is_timing({**PAIR, "seconds": {"encode": 1}})
    assert not is_timing({**PAIR, "seconds": {"encode": False}})
    assert not is_timing({**PAIR, "seconds": [1]}) and not is_timing([])


def test_why_it_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(OutputError, match=r"cannot be read: .*line 1 column 2"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(OutputError, match=r"cannot be read: (not a regular file|Is a directory)\n"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("start", "ours"),
    [
        ('{\n  "purescope": "0.1', True),
        ('{"models": [{"label": "a', True),
        ('{"settings": {"keep": [', True),
        ('{"name": "my site', False),
        ("", False),
    ],
)
def test_a_damaged_manifest_is_replaced_on_demand_if_it_was_ours(
    start: str, ours: bool, tmp_path: Path
) -> None:
    assert not looks_like_ours(tmp_path), "there is none"
    (tmp_path / MANIFEST).write_text(start)
    assert looks_like_ours(tmp_path) == ours
    with pytest.raises(OutputError, match="cannot be read"):
        own_manifest(tmp_path)
    if ours:
        assert own_manifest(tmp_path, overwrite=True) == {}
    else:
        with pytest.raises(OutputError, match="cannot be read"):
            own_manifest(tmp_path, overwrite=True)


def test_a_manifest_of_others_is_not_ours_to_replace(tmp_path: Path) -> None:
    assert own_manifest(tmp_path) is None
    (tmp_path / MANIFEST).write_text(json.dumps({"name": "my site"}))
    with pytest.raises(OutputError, match=r"manifest\.json that purescope did not write"):
        own_manifest(tmp_path, overwrite=True)
    write_manifest(GOOD, tmp_path)
    assert own_manifest(tmp_path) == GOOD


def test_a_table_is_the_one_of_which_the_manifest_has_the_hash(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    with pytest.raises(InputError, match=r"no results\.csv in "):
        check_hash(table, {"hashes": {}})
    table.write_text("k\n1\n")
    check_hash(table, {"hashes": {"results.csv": ["other", hash_of(table)]}})
    with pytest.raises(InputError, match="its hash is not the one in the manifest"):
        check_hash(table, {"hashes": {"results.csv": ["other"]}})
    for without in ({}, {"hashes": {"other.csv": [hash_of(table)]}}):
        with pytest.raises(InputError, match="the manifest has no hash of it"):
            check_hash(table, without)
