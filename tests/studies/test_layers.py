"""Every family of models, from files: which places are found, their weights, and what their
activations are.
"""

import functools
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor, nn

from purescope.cli.layers import layers as command
from purescope.datasets.dataset import Dataset
from purescope.datasets.prompts import prompts_for
from purescope.errors import InputError
from purescope.maths.overlaps import overlap
from purescope.models import load_model
from purescope.models.model import Model, Tower
from purescope.runs.identity import note_identities
from purescope.studies.layers import layer_table
from purescope.studies.towers import Place, collect, find_places
from tests.checkpoints import (
    laclip_tensors,
    openai_model,
    write_laclip,
    write_open_clip,
    write_torchscript,
)
from tests.models.test_open_clip import CONFIGS

pytestmark = pytest.mark.slow

TRANSFORMERS = ("hf clip", "hf siglip")
BLOCK = ("attention", "mlp", "residual")
TEXT = (*BLOCK, "projection")
POOL = ("attention", "mlp", "residual")
# The kinds of the image tower's places in order, and of the text tower's.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vit": (("stem", *BLOCK, *BLOCK, "projection"), TEXT),
    "custom text": (("stem", *BLOCK, *BLOCK, "projection"), TEXT),
    "resnet": (("stem",) * 3 + ("conv", "residual") * 4 + ("projection",), TEXT),
    "timm": (("stem", *BLOCK * 6, "projection"), TEXT),
    "coca": (("stem", *BLOCK, *BLOCK, "attention", "projection"), TEXT),
    "mlp head": (("stem", *BLOCK * 6, "linear", "projection"), TEXT),
    "siglip": (("stem", *BLOCK * 9, *POOL, "projection"), TEXT),
    "laclip": (("stem", *BLOCK, *BLOCK, "projection"), (*BLOCK, *TEXT)),
    "openai": (("stem", *BLOCK, *BLOCK, "projection"), TEXT),
    "hf clip": (("stem", *BLOCK, *BLOCK, "projection"), (*BLOCK, *TEXT)),
    "hf siglip": (("stem", *BLOCK, *BLOCK, *POOL, "projection"), (*BLOCK, *TEXT)),
}
FAMILIES = (*KINDS, "attention pool", "rotary pool", "classifier")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """A model of a family, and the weights as they stand in its file."""

    @functools.cache
    def make(family: str) -> Model:
        folder = tmp_path_factory.mktemp("family") / family.replace(" ", "_")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is the last of several layers")
            return load_model(_write(folder, family))

    return make


def _write(folder: Path, family: str) -> str:
    if family in CONFIGS:
        write_open_clip(folder, CONFIGS[family])
        return f"local-dir:{folder}"
    if family in TRANSFORMERS:
        pytest.importorskip("transformers")
        from tests.models.test_transformers import write

        write(folder, family.removeprefix("hf "))
        return f"hf:{folder}"
    folder.mkdir()
    if family == "laclip":
        return str(write_laclip(folder / "laclip.pt", laclip_tensors()))
    if family == "openai":
        return str(write_torchscript(folder / "openai.pt", openai_model()))
    raise ValueError(family)


def activations(model: Model, dataset: Dataset, tower: str) -> dict[str, Tensor]:
    """A A^T at each place by its name, all samples in one batch."""
    places = [place for place in find_places(model) if place.tower == tower]
    pixels = torch.stack([model.preprocess.pixels(image) for image in dataset.images])
    encode: tuple[Callable[[Tensor], Tensor], Tensor] = (
        model.encode_image,
        model.preprocess.normalise(pixels),
    )
    batch: tuple[Callable[[list[str]], Tensor], list[str]] = (
        model.encode_text,
        prompts_for(dataset, "native").texts(),
    )
    encoder, samples = encode if tower == "image" else batch
    moments = collect(places, model.towers[tower], encoder, [samples], name="test")
    return {f"{place.depth} {place.kind}": moments[place].gram() for place in places}


def assert_gram_of(rows: Tensor, gram: Tensor) -> None:
    """`rows` are activations [sample, neuron] from elsewhere."""
    rows = rows.detach().double()
    torch.testing.assert_close(
        gram, rows.T @ rows, rtol=1e-4, atol=1e-4 * float(gram.diagonal().max())
    )


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.filterwarnings("ignore:.*belong to no block")
def test_places_of_every_family(family: str, load: Callable[[str], Model]) -> None:
    places = find_places(load(family))
    for tower, kinds in zip(("image", "text"), KINDS[family], strict=True):
        own = [place for place in places if place.tower == tower]
        assert tuple(place.kind for place in own) == kinds
        depths = [place.depth for place in own]
        assert depths == sorted(depths) and set(depths) == set(range(depths[0], depths[-1] + 1))
        assert len({place.name for place in own}) == len(own)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore:.*belong to no block")
def test_weights_are_those_of_the_file_and_a_layer_in_a_block_is_never_missed(
    family: str, load: Callable[[str], Model]
) -> None:
    model = load(family)
    places = find_places(model)
    stored = {
        f"{name}.{key}": value
        for tower in model.towers.values()
        for name, module in tower.modules.items()
        for key, value in module.state_dict().items()
    }
    for place in places:
        if place.kind == "residual":
            assert place.weight is None
        elif place.kind == "projection":
            space = model.weight_space
            expected = None if isinstance(space, str) else getattr(space, place.tower)
            assert expected is None or torch.equal(place.weight, expected)
        else:
            key = next(
                key
                for key in (f"{place.name}.weight", f"{place.name}.out_proj.weight")
                if key in stored
            )
            assert (
                torch.equal(place.weight, stored[key].flatten(1))
                and len(place.weight) == place.neurons
            )
    # Whatever ends a part of a transformer's block has one of these names, in every family.
    ends = ("attn.proj", "attn.out_proj", "self_attn.out_proj", "mlp.c_proj", "mlp.fc2")
    wanted = {
        key.removesuffix(".weight") for key in stored if key.removesuffix(".weight").endswith(ends)
    }
    projections = {key for key in wanted if key.startswith("visual.head.")}
    missed = (
        wanted
        - projections
        - {place.name for place in places}
        - {f"{place.name}.out_proj" for place in places}
    )
    assert not missed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore:.*belong to no block")
def test_every_place_is_measured_and_the_batches_do_not_matter(
    family: str, load: Callable[[str], Model], dataset: Dataset
) -> None:
    model = load(family)
    first, second = (layer_table(model, dataset, batch_size=size) for size in (2, 100))
    pd.testing.assert_frame_equal(first, second, rtol=1e-3, atol=1e-4)
    measured = {(row.tower, row.name) for row in first[first.space == "centred"].itertuples()}
    assert measured == {(place.tower, place.name) for place in find_places(model)}
    assert (
        first[first.space != "weights"].width
        == first.tower.map({"image": 7, "text": 6})[first.space != "weights"]
    ).all()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules(model))


def modules(model: Model) -> list[nn.Module]:
    return [
        m
        for tower in model.towers.values()
        for part in tower.modules.values()
        for m in part.modules()
    ]


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_activations_are_the_hidden_states_of_transformers(
    family: str, load: Callable[[str], Model], dataset: Dataset
) -> None:
    model = load(family)
    import transformers

    theirs = transformers.AutoModel.from_pretrained(model.spec.removeprefix("hf:")).eval()
    pixels = model.preprocess.normalise(
        torch.stack([model.preprocess.pixels(image) for image in dataset.images])
    )
    with torch.no_grad():
        states = theirs.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
    found = activations(model, dataset, "image")
    for depth in (1, 2):
        rows = states[depth][:, 0] if family == "hf clip" else states[depth].mean(dim=1)
        assert_gram_of(rows, found[f"{depth} residual"])


def test_activations_of_a_block_are_those_of_its_definition(
    load: Callable[[str], Model], dataset: Dataset
) -> None:
    """The first block of open_clip's ViT by its formulas, read at the class token."""
    model = load("vit")
    weights = load_file(Path(model.spec.removeprefix("local-dir:")) / "open_clip_model.safetensors")
    w = {key.removeprefix("visual."): value for key, value in weights.items()}
    block = {key.removeprefix("transformer.resblocks.0."): value for key, value in w.items()}
    pixels = model.preprocess.normalise(
        torch.stack([model.preprocess.pixels(image) for image in dataset.images])
    )

    def norm(x: Tensor, of: dict[str, Tensor], name: str) -> Tensor:
        return torch.nn.functional.layer_norm(
            x, x.shape[-1:], of[f"{name}.weight"], of[f"{name}.bias"]
        )

    patches = torch.nn.functional.conv2d(pixels, w["conv1.weight"], stride=16).flatten(2).mT
    x = (
        torch.cat([w["class_embedding"].expand(len(pixels), 1, -1), patches], dim=1)
        + w["positional_embedding"]
    )
    x = norm(x, w, "ln_pre")
    query, key, value = (
        norm(x, block, "ln_1") @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
    ).split(48, -1)
    heads = []
    for q, k, v in zip(query.split(16, -1), key.split(16, -1), value.split(16, -1), strict=True):
        heads.append(torch.softmax(q @ k.mT / math.sqrt(16), dim=-1) @ v)
    attention = torch.cat(heads, -1) @ block["attn.out_proj.weight"].T + block["attn.out_proj.bias"]
    x = x + attention
    hidden = norm(x, block, "ln_2") @ block["mlp.c_fc.weight"].T + block["mlp.c_fc.bias"]
    mlp = (hidden * torch.sigmoid(1.702 * hidden)) @ block["mlp.c_proj.weight"].T + block[
        "mlp.c_proj.bias"
    ]

    found = activations(model, dataset, "image")
    assert_gram_of(patches.mean(dim=1), found["0 stem"])
    assert_gram_of(attention[:, 0], found["1 attention"])
    assert_gram_of(mlp[:, 0], found["1 mlp"])
    assert_gram_of((x + mlp)[:, 0], found["1 residual"])
    assert_gram_of(model.encode_image(pixels), found["3 projection"])


@pytest.mark.parametrize("family", ["vit", "custom text", "laclip", "openai"])
def test_the_last_text_token_gives_the_feature(
    family: str, load: Callable[[str], Model], dataset: Dataset
) -> None:
    """The feature is the last residual, normalised, times the projection: so that is the token that
    is read.
    """
    model = load(family)
    parts = model.towers["text"].modules
    inside = {key: m for part in parts.values() for key, m in part.named_modules()}
    last = next(
        m for key, m in reversed(inside.items()) if key.rpartition(".")[0].endswith("resblocks")
    )
    rows: list[Tensor] = []
    handle = last.register_forward_hook(lambda module, inputs, output: rows.append(output.clone()))
    sentences = prompts_for(dataset, "native").texts()
    model.encode_text(sentences)
    handle.remove()
    import open_clip

    ends = open_clip.tokenize(sentences).argmax(1)  # the end is the highest token
    expected = rows[0][torch.arange(len(sentences)), ends]
    found = activations(model, dataset, "text")
    assert_gram_of(expected, [gram for key, gram in found.items() if key.endswith("residual")][-1])


def test_random_weights_are_near_their_reference(load: Callable[[str], Model]) -> None:
    table = layer_table(load("laclip"))
    inner = table[table.kind.isin(["attention", "mlp", "projection"])]
    assert len(inner) == 10
    assert inner.relative_overlap.between(0.93, 1.07).all()
    assert inner.relative_effective_rank.between(0.97, 1.03).all()
    assert inner.relative_participation_ratio.between(0.95, 1.05).all()


def test_sums_over_batches_are_those_of_all_samples() -> None:
    """Samples far from zero, in batches of several lengths."""
    layer = nn.Linear(8, 8, bias=False)
    place = Place("image", 1, "linear", "layer", 8, layer.weight.detach(), layer)
    rows = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) + 1000
    with torch.no_grad():
        layer.weight.copy_(torch.eye(8))
        batches = list(rows.split([1, 150, 49, 200]))
        moments = collect([place], Tower({"": layer}, "mean"), layer, batches, name="test")[place]
    assert moments.samples == 400
    torch.testing.assert_close(moments.gram(), rows.double().T @ rows.double(), rtol=1e-12, atol=0)
    expected = 400 * rows.double().T.cov(correction=0)
    torch.testing.assert_close(moments.gram(centred=True), expected, rtol=1e-9, atol=1e-8)


def test_a_neuron_that_never_changes_is_dead_once_centred(
    load: Callable[[str], Model], dataset: Dataset
) -> None:
    model = load("vit")
    same = replace(dataset, images=[dataset.images[0]] * 2, labels=torch.tensor([0, 1]))
    table = layer_table(model, same, batch_size=1)
    centred = table[(table.space == "centred") & (table.tower == "image")]
    assert (centred.dead == centred.neurons).all() and centred.overlap.isna().all()
    assert (table[(table.space == "activations") & (table.tower == "image")].dead == 0).all()


class Odd(nn.Module):
    """A tower of nothing known."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 4)
        self.mix = nn.MultiheadAttention(6, 2, batch_first=True)
        self.last = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.first(images).flatten(2).mT
        result: Tensor = self.last(self.mix(tokens, tokens, tokens)[0]).mean(dim=1)
        return result


def odd_model(load: Callable[[str], Model], **changes: object) -> Model:
    odd, vit = Odd().eval().requires_grad_(False), load("vit")
    towers = {"image": Tower({"visual": odd}, "mean"), "text": vit.towers["text"]}
    return replace(vit, encode_image=odd, towers=towers, weight_space="made by hand", **changes)


def test_an_unknown_tower_is_listed_layer_by_layer_with_a_warning(
    load: Callable[[str], Model], dataset: Dataset
) -> None:
    model = odd_model(load)
    with pytest.warns(UserWarning, match=r"3 layers of the image tower .* first visual\.first"):
        table = layer_table(model, dataset)
    image = table[(table.tower == "image") & (table.space == "weights")]
    assert image[["depth", "kind", "neurons"]].values.tolist() == [
        [1, "conv", 6],
        [2, "attention", 6],
        [3, "linear", 5],
    ]


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"towers": {}}, {}, "without towers"),
        ({"lanes": 2}, {}, r"2 devices(?s:.*)--device"),
        ({}, {"batch_size": 0}, "batch size 0"),
        (
            {"encode_image": lambda images: images.flatten(1)[:, :5]},
            {},
            r"gave 0 activations for 7 samples",
        ),
    ],
)
def test_what_cannot_be_measured_is_said(
    changes: dict[str, object],
    options: dict[str, int],
    says: str,
    load: Callable[[str], Model],
    dataset: Dataset,
) -> None:
    with pytest.raises(InputError, match=says):
        layer_table(replace(load("vit"), **changes), dataset, **options)


def test_one_image_is_refused(load: Callable[[str], Model], dataset: Dataset) -> None:
    with pytest.raises(InputError, match="1 image"):
        layer_table(
            load("vit"), replace(dataset, images=dataset.images[:1], labels=torch.tensor([0]))
        )


def test_the_command_prints_both_towers_and_writes_every_figure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(command, ["Mine=bundled:clip", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (
        "Mine: layers by depth" in result.output
        and "image" in result.output
        and "text" in result.output
    )
    written = pd.read_csv(out / "layers_mine.csv", keep_default_na=False)
    assert (
        len(written) == len(find_places(load_model("bundled:clip"))) - 6 - 1
    )  # but the residual streams of 7 blocks
    ends = written[written.kind == "projection"].set_index("tower").overlap
    for tower in ("image", "text"):
        expected = overlap(getattr(load_model("bundled:clip").projections, tower)).mean()
        assert ends[tower] == pytest.approx(float(expected), rel=1e-9)
    manifest = json.loads((out / "manifest.json").read_text())
    (known,) = manifest["models"]
    assert (
        known["label"] == "Mine"
        and known["weights"] == load_model("bundled:clip").identity["weights"]
    )
    assert (
        "torch" in manifest["versions"]
        and known["weights"][:12] in (out / "report.html").read_text()
    )
    again = CliRunner().invoke(command, ["Other=bundled:laclip", "--out", str(out), "--no-report"])
    assert again.exit_code == 0, again.output
    assert [one["label"] for one in json.loads((out / "manifest.json").read_text())["models"]] == [
        "Mine",
        "Other",
    ]


def test_notes_of_data_stand_in_the_manifest(
    load: Callable[[str], Model], dataset: Dataset, tmp_path: Path
) -> None:
    for notes in (("half of it",), (), ("half of it", "grey")):
        note_identities([load("vit")], [replace(dataset, notes=notes)], tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["notes"] == ["half of it", "grey"]


def test_the_command_measures_activations_of_a_data_set(
    load: Callable[[str], Model], dataset: Dataset, tmp_path: Path
) -> None:
    for index, label in enumerate(dataset.labels.tolist()):
        folder = tmp_path / "pets" / dataset.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        dataset.images[index].save(folder / f"{index}.png")
    given = [
        load("vit").spec,
        "--data",
        f"folder:{tmp_path / 'pets'}",
        "--out",
        str(tmp_path),
        "--no-report",
    ]
    result = CliRunner().invoke(command, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (
        "activations" in result.output and "residual" in result.output and "…" not in result.output
    )
    (path,) = tmp_path.glob("layers_*.csv")
    assert set(pd.read_csv(path).space) == {"weights", "activations", "centred"}
