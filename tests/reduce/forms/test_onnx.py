"""Exported towers compute, in onnxruntime, what the model computes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch

from purescope.errors import MissingExtraError, ModelError, OutputError
from purescope.models import find_towers
from purescope.models.towers import Towers
from purescope.reduce.cutting import cut
from purescope.reduce.forms import onnx as form
from purescope.reduce.forms.checking import make_pixels, require_equal
from purescope.reduce.forms.onnx import CONFIG, OPSET, write_onnx
from purescope.reduce.rotation import read_rotation
from purescope.runs.exports import export
from tests.checkpoints import laclip_tensors, write_laclip, write_open_clip
from tests.models.test_open_clip import CONFIGS
from tests.reduce.forms.cards import assert_similar, run_card

ROOT = str(Path(__file__).parents[3])
SENTENCES = ["a red flag", "Two CATS, a dog's   tail & “it’s” more" * 9, "x"]


# One layer: tracing takes a second for each.
ONE_LAYER = {"num_hidden_layers": 1}
VIT = {**CONFIGS["vit"], "vision_cfg": {**CONFIGS["vit"]["vision_cfg"], "layers": 1}}


def write_model(folder: Path, family: str) -> Path:
    """A small model of each kind of tower."""
    path = folder / family
    if family == "laclip":
        write_laclip(path, laclip_tensors(depth=1, text_depth=1))
    elif family == "transformers":
        from tests.models.test_transformers import write

        write(path, "clip", text=ONE_LAYER, vision=ONE_LAYER)
    else:
        write_open_clip(path, {**CONFIGS, "vit": VIT}[family])
    return path


def load(folder: Path, family: str) -> Towers:
    return find_towers(str(write_model(folder, family)))[0]


_IS_SHORT = "PURESCOPE_TORTURE" not in os.environ
_LONG = pytest.mark.skipif(_IS_SHORT, reason="`make torture` traces each kind of tower")


@pytest.fixture(scope="module", params=["vit", "laclip", pytest.param("transformers", marks=_LONG)])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Towers, Path]:
    """The towers that a model is cut to, and the folder that they are exported to."""
    folder = tmp_path_factory.mktemp("onnx")
    path = write_model(folder, request.param)
    folders = export(str(path), keep=8, to=("onnx", "rotation"), out=folder / "out")
    return cut(find_towers(str(path))[0], read_rotation(folders["rotation"])), folders["onnx"]


def run(path: Path, rows: torch.Tensor) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return session.run(None, {entry.name: rows.numpy()})[0]


@pytest.mark.slow
def test_a_program_without_torch_gets_the_same_embeddings(pair: tuple[Towers, Path]) -> None:
    """From the files alone, in a batch of another size than the one it was traced with."""
    towers, folder = pair
    config = json.loads((folder / CONFIG).read_text())
    backend = tokenizers.Tokenizer.from_file(str(folder / config["tokenizer"]["file"]))
    tokens = torch.tensor([row.ids for row in backend.encode_batch(SENTENCES)])
    assert tokens.equal(towers.tokenize(SENTENCES))
    preprocess = config["preprocess"]
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, *[preprocess["size"]] * 2))
    mean, std = (np.array(preprocess[key])[:, None, None] for key in ("mean", "std"))
    given = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32))
    with torch.no_grad():
        expected = {
            "image": towers.encode_image(towers.preprocess.normalise(torch.tensor(pixels).byte())),
            "text": towers.encode_text(tokens),
        }
    for tower, rows in (("image", given), ("text", tokens)):
        entry = config["towers"][tower]
        assert entry["input_shape"] == ["batch", *rows.shape[1:]]
        got = run(folder / entry["file"], rows)
        assert (
            list(got.shape) == [len(rows), towers.neurons] == [len(rows), entry["output_shape"][1]]
        )
        scale = expected[tower].norm(dim=1).max().item()
        np.testing.assert_allclose(got, expected[tower].numpy(), atol=1e-5 * scale, rtol=0)
        assert entry["largest_difference_from_torch"] < 1e-5
    assert config["unit_length"] is False


@pytest.mark.slow
def test_the_program_of_its_card_runs(
    pair: tuple[Towers, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    towers, folder = pair
    names = run_card("onnx", folder, monkeypatch, neurons=512, kept=towers.neurons)
    assert_similar(names, towers)


@pytest.mark.slow
def test_the_files_hold_one_tower_each_and_nothing_of_this_machine(
    pair: tuple[Towers, Path],
) -> None:
    import onnx

    towers, folder = pair
    names = ["README.md", "image.onnx", CONFIG, "text.onnx", "tokenizer.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    numbers = 0
    for tower in ("image", "text"):
        content = (folder / f"{tower}.onnx").read_bytes()
        assert ROOT.encode() not in content and b"/site-packages/" not in content
        model = onnx.load_model_from_string(content)
        assert [entry.version for entry in model.opset_import if not entry.domain] == [OPSET]
        batch = model.graph.input[0].type.tensor_type.shape.dim[0]
        assert batch.dim_param and not batch.dim_value
        numbers += sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    weights = sum(weight.numel() for weight in towers.module.parameters())
    assert numbers < 1.2 * weights  # each tower has its own weights, not those of both


@pytest.mark.slow
@_LONG
@pytest.mark.parametrize("family", ["resnet"])
def test_other_image_towers(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their text towers are those above. Weights lie beside the graph if they are many."""
    monkeypatch.setattr(form, "_LARGE", 1000)
    towers = load(tmp_path, family)
    module = form._Tower(towers.module.eval(), towers.encode_image)
    pixels = make_pixels(towers)
    (tmp_path / "one").mkdir()
    form._write_tower(module, "image", pixels[:2], tmp_path / "one" / "image.onnx")
    with torch.no_grad():
        expected = towers.encode_image(pixels)
    moved = (tmp_path / "one").rename(tmp_path / "two")
    assert sorted(path.name for path in moved.iterdir()) == ["image.onnx", "image.onnx.data"]
    assert require_equal("onnx", "image", form._run(moved / "image.onnx", pixels), expected) > 0


def test_an_export_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is left; the tower that is written here is none."""
    towers = load(tmp_path, "vit")
    monkeypatch.setattr(form, "_write_tower", lambda module, tower, rows, path: path.touch())
    shifted: Callable[..., torch.Tensor] = lambda path, rows: towers.encode_image(rows) * 1.001  # noqa: E731
    monkeypatch.setattr(form, "_run", shifted)
    with pytest.raises(ModelError, match=r"image\.onnx: its image tower differs .* by 0\.\d+ of"):
        write_onnx(towers, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vit"]


def test_differences_are_measured_in_lengths() -> None:
    rows = torch.tensor([[3.0, 4.0], [300.0, 400.0]])
    nudge = torch.tensor([[0.0, 0.0], [0.0, 0.001]])
    assert require_equal("onnx", "text", rows + nudge, rows) == pytest.approx(2e-6, rel=0.1)
    for wrong in (rows + 1e-3, torch.full_like(rows, float("nan"))):
        with pytest.raises(ModelError, match="its text tower differs"):
            require_equal("onnx", "text", wrong, rows)
    with pytest.raises(ModelError, match=r"shape \[2, 1\]"):
        require_equal("onnx", "text", rows[:, :1], rows)


def test_a_tower_that_torch_cannot_export_is_refused(tmp_path: Path) -> None:
    class Fickle(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows if float(rows.sum()) > 0 else rows * 2

    with pytest.raises(ModelError, match="torch cannot export the image tower to ONNX"):
        form._write_tower(Fickle(), "image", torch.zeros(2, 3, 2, 2), tmp_path / "image.onnx")
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "image.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"onnxruntime cannot run image\.onnx"):
        form._run(tmp_path / "image.onnx", torch.zeros(1, 3, 2, 2))


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = load(tmp_path, "vit")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="out: holds mine"):
        write_onnx(towers, tmp_path / "out")
    with pytest.raises(OutputError, match="Not a directory"):
        write_onnx(towers, tmp_path / "out" / "mine")
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'purescope\[onnx\]'"):
        write_onnx(towers, tmp_path / "new")
