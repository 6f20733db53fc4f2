"""``purescope export``: what it prints and refuses."""

from pathlib import Path

import pytest

from tests.checkpoints import laclip_tensors, write_laclip
from tests.cli.calls import fails, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    return write_laclip(path, laclip_tensors(depth=1))


def test_it_says_how_each_form_is_loaded(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("export", model, "--keep", 6, "--order", "low_purity", "--out", out) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{out / 'purescope'}: 6 dimensions, in the form of purescope",
        "  purescope loads it by its path",
        f"{out / 'rotation'}: 6 dimensions, in the form of rotation",
        "  its rotation.safetensors takes embeddings that exist already to these dimensions",
    ]
    assert sorted(path.name for path in (out / "purescope").iterdir()) == [
        "README.md",
        "model.safetensors",
        "purescope_laclip.json",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keep", "99"), "1 to 24, the dimensions of model"),
        (("--keep", "six"), "--keep"),
        ((), "--keep"),
        (("--keep", "6", "--to", "open_clip"), "--to purescope"),
        (("--keep", "6", "--order", "none.csv"), "--order: there is no file none.csv"),
        (("--keep", "6", "--rotation", "none"), "--rotation: there is no file none"),
        (("--keep", "6", "--results", "none"), "there is no folder none"),
        (("--keep", "6", "--axes", "svd", "--order", "first_k"), "--axes and --order"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...],
    message: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, "export", model, *words, "--out", "out")
    assert not list(tmp_path.iterdir())
