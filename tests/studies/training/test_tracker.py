"""The same table from training loops: a plain one, and Lightning's."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from purescope.errors import InputError, MissingExtraError, ModelError, OutputError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.studies.training.tracking import Tracker, TrackSettings, projections_of, track
from purescope.tables.results import read_track
from tests.studies.training.made import IMAGES, NEURONS, make_features, make_model, make_projections

SETTINGS = TrackSettings(keep=[4, 8], draws=3)


class TinyCLIP(nn.Module):
    """Two linear towers, which a contrastive loss pulls together."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.visual_projection = nn.Linear(9, NEURONS, bias=False)
            self.text_projection = nn.Linear(5, NEURONS, bias=False)
            self.dropout = nn.Dropout(0.5)

    def features(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        image = nn.functional.normalize(self.dropout(self.visual_projection(images)), dim=1)
        return image, nn.functional.normalize(self.text_projection(texts), dim=1)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        image, text = self.features(*batch)
        return nn.functional.cross_entropy(10 * image @ text.T, torch.arange(len(image)))


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        text = torch.randn(6, 5, generator=generator)
        yield torch.cat([text, torch.randn(6, 4, generator=generator)], dim=1), text


def encode(model: TinyCLIP) -> Features:
    generator = torch.Generator().manual_seed(2)
    text, labels = torch.randn(4, 5, generator=generator), torch.arange(IMAGES) % 4
    images = torch.cat([text[labels], torch.randn(IMAGES, 4, generator=generator)], dim=1)
    image_features, text_features = model.features(images, text)
    return Features(
        image_features, text_features, labels, tuple("abcd"), model="tiny", dataset="toy"
    )


def train(
    out: Path, *, first: int = 0, last: int = 7, **options: Any
) -> tuple[Tracker, dict[int, Projections]]:
    """Seven steps, recorded every third; what the weights were is returned."""
    model, seen = TinyCLIP().eval(), dict[int, Projections]()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    tracker = Tracker(out, every=3, model="tiny", settings=SETTINGS, **options)
    for step, batch in enumerate(batches(last)):
        if step >= first:
            seen[step] = projections_of(model)
            tracker.record(step, model, lambda: encode(model))
        optimiser.zero_grad()
        model.loss(batch).backward()
        optimiser.step()
    return tracker, seen


def test_a_plain_loop_writes_the_same_table(tmp_path: Path) -> None:
    tracker, seen = train(tmp_path)
    table = read_track(tmp_path)
    assert table.step.tolist() == [0, 3, 6] and table.dataset.unique().tolist() == ["toy"]
    assert table.model.unique().tolist() == ["tiny"] and not table.accuracy.isna().any()
    pd.testing.assert_frame_equal(
        table.drop(columns="order"), tracker.table().drop(columns="order")
    )
    reference = track(
        [(step, make_model(step, "tiny", seen[step])) for step in (0, 3, 6)], settings=SETTINGS
    )
    same = [
        "model",
        "step",
        "neurons",
        "image_purity",
        "text_relative_overlap",
        "rank_last",
        "rank_previous",
    ]
    pd.testing.assert_frame_equal(table[same], reference[same])
    assert table.image_overlap.nunique() == 3


def test_a_loop_that_goes_on_keeps_what_it_recorded(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")[0].table()
    train(tmp_path / "parts", last=5)
    parts = train(tmp_path / "parts", first=2)[
        0
    ].table()  # from the checkpoint of step 2; step 3 comes again
    pd.testing.assert_frame_equal(parts.drop(columns="order"), whole.drop(columns="order"))
    with pytest.raises(OutputError, match="other settings"):
        Tracker(tmp_path / "parts", settings=TrackSettings(draws=9))
    assert (
        len(Tracker(tmp_path / "parts", settings=TrackSettings(draws=9), overwrite=True)._log.rows)
        == 0
    )


def test_only_due_steps_make_features(tmp_path: Path) -> None:
    asked = []
    tracker = Tracker(tmp_path, every=10, settings=SETTINGS)
    for step in range(25):
        tracker.record(
            step,
            make_projections(step),
            lambda step=step: asked.append(step) or make_features(step),
        )  # type: ignore[misc]
    assert asked == [0, 10, 20] == tracker.table().step.tolist()


def test_models_and_projections_are_recorded_alike(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, settings=SETTINGS)
    tracker.record(1, make_model(3), make_features())
    tracker.record(2, make_projections(3), make_features())
    first, second = (
        row.drop(["step", "rank_previous", "order"]) for _, row in tracker.table().iterrows()
    )
    pd.testing.assert_series_equal(first, second, check_names=False)


def test_a_weight_that_is_not_finite_is_an_error_and_what_was_recorded_stays(
    tmp_path: Path,
) -> None:
    tracker = Tracker(tmp_path, settings=SETTINGS)
    model = TinyCLIP()
    tracker.record(1, model)
    with torch.no_grad():
        model.visual_projection.weight[2, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        tracker.record(2, model)
    assert read_track(tmp_path).step.tolist() == [1]


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every = 0"):
        Tracker(tmp_path, every=0)
    wrong = Projections(torch.eye(3), torch.eye(3))
    with pytest.raises(InputError, match="features of 12 neurons, projections of 3"):
        Tracker(tmp_path, settings=SETTINGS).record(1, wrong, make_features())


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_activations_need_features(space: str, tmp_path: Path) -> None:
    """Weights are not measured in their place."""
    tracker = Tracker(tmp_path, settings=replace(SETTINGS, space=space))
    with pytest.raises(InputError, match=f"overlap of {space}"):
        tracker.record(1, make_projections(0))
    assert tracker.table().empty


def parameters(**shapes: tuple[int, int]) -> nn.Module:
    """A module with matrices at dotted names, filled with rising numbers."""
    module = nn.Module()
    for name, shape in shapes.items():
        *folders, last = name.split("__")
        place = module
        for folder in folders:
            if not hasattr(place, folder):
                place.add_module(folder, nn.Module())
            place = getattr(place, folder)
        place.register_parameter(
            last, nn.Parameter(torch.arange(float(shape[0] * shape[1])).view(shape))
        )
    return module


@pytest.mark.parametrize(
    ("names", "image_rows", "text_rows"),
    [
        (("visual__proj", "text_projection"), False, False),
        (("visual__attnpool__c_proj__weight", "text_projection"), True, False),
        (("image_projection", "text_projection"), False, False),
        (("visual_projection__weight", "text_projection__weight"), True, True),
        (("module__visual__proj", "module__text__text_projection"), False, False),
        (("visual__head__proj__weight", "text__text_projection__weight"), True, True),
    ],
)
def test_projections_are_found_by_name_and_turned(
    names: Any, image_rows: bool, text_rows: bool
) -> None:
    shapes = {"image": (4, 3) if image_rows else (3, 4), "text": (4, 2) if text_rows else (2, 4)}
    module = parameters(**dict(zip(names, shapes.values(), strict=True)))
    found = projections_of(module)
    stored = dict(module.named_parameters())
    for tower, name, rows in zip(("image", "text"), names, (image_rows, text_rows), strict=True):
        weight = stored[name.replace("__", ".")].detach()
        assert torch.equal(getattr(found, tower), weight if rows else weight.T)
    with torch.no_grad():
        next(module.parameters()).add_(1)
    assert found.image[0, 0] == 0  # a copy


def test_projections_without_a_known_name_are_an_error() -> None:
    with pytest.raises(ModelError, match="no image projections by name"):
        projections_of(parameters(text_projection=(2, 4)))
    twice = parameters(a__visual__proj=(3, 4), b__visual__proj=(3, 4), text_projection=(2, 4))
    with pytest.raises(
        ModelError, match=r"several image projections by name: a\.visual\.proj, b\.visual\.proj"
    ):
        projections_of(twice)


@pytest.mark.slow
def test_real_modules_have_the_projections_that_load_model_finds() -> None:
    import open_clip

    tower = {"width": 64, "heads": 1, "layers": 1}
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
        "text_cfg": {"context_length": 8, "vocab_size": 32, **tower},
    }
    for kind in (open_clip.CLIP, open_clip.CustomTextCLIP):
        module = kind(**config)
        found = projections_of(module)
        text = module if kind is open_clip.CLIP else module.text
        assert torch.equal(found.image, module.visual.proj.T) and torch.equal(
            found.text, text.text_projection.T
        )


def fit(out: Path, *, steps: int, every: int = 2, **options: Any) -> Any:
    import lightning.pytorch as pl

    from purescope.studies.training.lightning import TrackerCallback

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.clip = TinyCLIP()
            self.clip.dropout.eval()  # frozen in this mode
            self.modes: list[tuple[bool, bool]] = []

        def training_step(self, batch: Any, index: int) -> Tensor:
            self.modes.append((self.clip.training, self.clip.dropout.training))
            return self.clip.loss(batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    module = Module()
    tracker = Tracker(out, every=every, settings=SETTINGS, model="tiny")
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=out,
        callbacks=[TrackerCallback(tracker, **options)],
        **({"accumulate_grad_batches": 2} if every == 1 else {}),
    )
    data = torch.utils.data.DataLoader(list(batches(steps)), batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and devices
        trainer.fit(module, data)
    return module


@pytest.mark.slow
def test_lightning_records_each_due_step(tmp_path: Path) -> None:
    modes = []

    def features(module: Any) -> Features:
        modes.append((module.clip.training, torch.is_grad_enabled()))
        return encode(module.clip)

    module = fit(tmp_path, steps=5, features=features)
    table = read_track(tmp_path)
    assert table.step.tolist() == [0, 2, 4] and table.n.tolist() == [IMAGES] * 3
    assert modes == [(False, False)] * 3
    assert module.modes == [(True, False)] * 5  # each part is back in its own mode
    untrained = track([(0, make_model(0, "tiny", projections_of(TinyCLIP())))], settings=SETTINGS)
    assert table.image_overlap[0] == pytest.approx(untrained.image_overlap[0])
    assert table.image_overlap.nunique() == 3


@pytest.mark.slow
def test_lightning_counts_optimiser_steps_not_batches(tmp_path: Path) -> None:
    fit(tmp_path, steps=6, every=1)
    table = read_track(tmp_path)
    assert table.step.tolist() == [0, 1, 2, 3] and table.n.tolist() == [0] * 4


def test_without_lightning_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "purescope.studies.training.lightning", raising=False)
    with pytest.raises(MissingExtraError, match=r"purescope\[lightning\]"):
        import_module("purescope.studies.training.lightning")
