"""Which checkpoints a name stands for, and which step each is."""

from pathlib import Path

import pytest

from purescope.errors import ModelError
from purescope.studies.training.checkpoints import find_checkpoints


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def told(*specs: str) -> list[tuple[str, int, str]]:
    return [
        (found.model, found.step, Path(str(found.source)).name) for found in find_checkpoints(specs)
    ]


def test_steps_sort_as_numbers(tmp_path: Path) -> None:
    run = touch(
        tmp_path / "laclip" / "checkpoints",
        "epoch_9.pt",
        "epoch_10.pt",
        "epoch_100.pt",
        "params.txt",
    )
    expected = [
        ("laclip", 9, "epoch_9.pt"),
        ("laclip", 10, "epoch_10.pt"),
        ("laclip", 100, "epoch_100.pt"),
    ]
    assert told(str(run)) == told(f"{run}/epoch_*.pt") == expected
    assert [row[0] for row in told(f"CC3M LaCLIP={run}")] == ["CC3M LaCLIP"] * 3


@pytest.mark.parametrize(
    ("name", "series", "step"),
    [
        ("clip-00400.safetensors", "clip", 400),
        ("epoch=3-step=120.ckpt", "run-7", 120),
        ("ViT-B-16_step1000.pt", "ViT-B-16", 1000),
        ("model_5.pth", "run-7", 5),
        ("stepwise_3.bin", "stepwise", 3),
        ("epoch=3-val_loss=40.00.ckpt", "run-7", 3),
        ("epoch=3-step=400-v1.ckpt", "run-7", 400),
        ("step=120-epoch=3.ckpt", "run-7", 120),
        ("epoch=7-val_acc=75-lr=1.0e-05.ckpt", "run-7", 7),
        ("epoch_10_top5.pt", "top5", 10),
        ("lr1e-05_epoch3.pt", "lr", 3),
        ("ViT-B-16-iter.400.pt", "ViT-B-16", 400),
        ("checkpoint-1500-of-2000.pt", "of-2000", 1500),
        ("clip_0.5_400.pt", "clip", 400),
    ],
)
def test_a_name_tells_series_and_step(tmp_path: Path, name: str, series: str, step: int) -> None:
    run = touch(tmp_path / "run-7", name)
    assert told(str(run / name)) == [(series, step, name)]


def test_a_metric_or_a_version_is_no_step(tmp_path: Path) -> None:
    names = [f"epoch={i}-val_loss=0.{loss}.ckpt" for i, loss in enumerate((91, 60, 42, 35))]
    run = touch(
        tmp_path / "low", *names, "last.ckpt", "last-v1.ckpt", "clip-1.5.pt", "val_loss=3.ckpt"
    )
    with pytest.warns(UserWarning, match="left out") as notes:
        assert told(str(run)) == [("low", i, name) for i, name in enumerate(names)]
    assert {Path(str(note.message).split(": ")[0]).name for note in notes} == {
        "last.ckpt", "last-v1.ckpt", "clip-1.5.pt", "val_loss=3.ckpt"
    }  # fmt: skip


def test_epochs_among_steps_are_told(tmp_path: Path) -> None:
    run = touch(tmp_path / "run", "epoch_3.pt", "step_400.pt")
    with pytest.warns(
        UserWarning, match=r"'run': .*step_400\.pt has a step and .*epoch_3\.pt an epoch"
    ):
        assert [step for _, step, _ in told(str(run))] == [3, 400]
    assert [step for _, step, _ in told(f"@600={run}/epoch_3.pt", f"{run}/step_400.pt")] == [
        400,
        600,
    ]


def test_signs_of_patterns_in_the_name_of_a_folder(tmp_path: Path) -> None:
    run = touch(tmp_path / "run[1] a,b", "epoch_1.pt", "epoch_2.pt")
    touch(tmp_path / "run1 a,b", "epoch_3.pt")
    both = [("run[1] a,b", 1, "epoch_1.pt"), ("run[1] a,b", 2, "epoch_2.pt")]
    assert told(f"{run}/epoch_*.pt") == told(f"{run}/epoch_[12].pt") == told(str(run)) == both
    assert told(f"{tmp_path}/run*/epoch_[23].pt") == [("run1 a,b", 3, "epoch_3.pt"), both[1]]
    touch(run, "a[b]_3.pt")
    assert told(f"{run}/a[b]_*.pt") == [("a[b]", 3, "a[b]_3.pt")]


def test_a_part_of_each_checkpoint(tmp_path: Path) -> None:
    run = touch(tmp_path / "run", "epoch_1.pt", "epoch_2.pt")
    both = [("run", 1, "epoch_1.pt#ema"), ("run", 2, "epoch_2.pt#ema")]
    assert told(f"{run}/*.pt#ema") == told(f"{run}#ema") == both
    assert told(f"{run}/epoch_1.pt#ema") == both[:1]
    assert told(f"A={run}/epoch_1.pt#ema", f"{run}/epoch_1.pt#model") == [
        ("A", 1, "epoch_1.pt#ema"), ("run", 1, "epoch_1.pt#model")
    ]  # fmt: skip


def test_folders_with_a_model_are_checkpoints_of_the_folder_above(tmp_path: Path) -> None:
    for step in (1500, 400):
        touch(tmp_path / f"clip-{step}", "open_clip_config.json", "weights-1.bin")
    touch(tmp_path / "logs")
    assert told(str(tmp_path)) == [("clip", 400, "clip-400"), ("clip", 1500, "clip-1500")]


def test_what_stands_before_a_checkpoint_overrides_its_name(tmp_path: Path) -> None:
    run = touch(tmp_path / "run", "clip-400.pt", "best.pt")
    assert told(f"A@7={run}/clip-400.pt") == [("A", 7, "clip-400.pt")]
    assert told(f"@7={run}/best.pt") == [("best", 7, "best.pt")]
    assert told("@4000=bundled:clip", f"{run}/clip-400.pt") == [
        ("clip", 400, "clip-400.pt"),
        ("clip", 4000, "bundled:clip"),
    ]


def test_a_name_without_a_step_is_left_out_of_a_folder_with_a_warning(tmp_path: Path) -> None:
    run = touch(tmp_path / "run", "clip-400.pt", "best.pt")
    with pytest.warns(UserWarning, match=r"left out .*best\.pt"):
        assert told(str(run)) == [("clip", 400, "clip-400.pt")]


def test_two_checkpoints_of_one_step_are_both_named(tmp_path: Path) -> None:
    run = touch(tmp_path / "run", "epoch_1.pt", "epoch_01.pt")
    with pytest.raises(
        ModelError, match=r"epoch_01\.pt and .*epoch_1\.pt are both step 1 of 'run'"
    ):
        find_checkpoints([run])
    assert len(find_checkpoints([run / "epoch_1.pt", f"B={run}/epoch_01.pt"])) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bundled:clip", "has no step"),
        ("open_clip:ViT-B-16/laion2b_s34b_b88k", "has no step"),
        ("{run}/best.pt", "has no step"),
        ("{run}/epoch_*.pt", "no checkpoint in"),
        ("{run}/empty", "no checkpoint in"),
        ("@3={run}/clip-*.pt", "names 2 checkpoints"),
        ("@x={run}/best.pt", "LABEL@STEP=CHECKPOINT"),
    ],
)
def test_what_names_no_step_or_no_file_is_an_error(tmp_path: Path, spec: str, message: str) -> None:
    run = touch(tmp_path / "run", "clip-400.pt", "clip-500.pt", "best.pt")
    (run / "empty").mkdir()
    with pytest.raises(ModelError, match=message):
        find_checkpoints([spec.format(run=run)])


def test_none_is_an_error() -> None:
    with pytest.raises(ModelError, match="no checkpoint was named"):
        find_checkpoints([])
