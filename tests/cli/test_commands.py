"""The command line end to end: each command as a user types it, in this process."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from purescope.cli import main, options
from purescope.cli.run import cli
from purescope.datasets import load_dataset
from purescope.features.extraction import extract
from purescope.maths.cells import ABLATIONS
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import activation_space, overlap
from purescope.maths.scores import TOWERS
from purescope.models import load_model
from purescope.studies.settings import SPACES, all_strategies
from purescope.tables.schemas import RESULTS
from tests.words import few_words

pytestmark = pytest.mark.slow


QUICK = ("--resamples", 100, "--no-figures", "--no-report")


@pytest.fixture(autouse=True)
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    few_words(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three small pictures each."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture
def features_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(30, 512)), rng.normal(size=(3, 512))
    np.savez(tmp_path / "mine.npz", image=image, text=text, labels=np.arange(30) % 3)
    return tmp_path / "mine.npz"


def run(*arguments: object) -> int:
    """The exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that must fail prints: one screen, no traceback, code 2."""
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert message.strip() and "Traceback" not in message and len(message.splitlines()) < 25
    return message


def test_sweep_writes_every_result_file(folder, features_file, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    data = ["--data", f"folder:{folder}", "--data", f"features:{features_file}"]
    assert (
        run(
            "sweep",
            "bundled:clip",
            "A B=bundled:laclip",
            *data,
            "--keep",
            "100,512",
            "--draws",
            2,
            "--resamples",
            100,
            "--out",
            out,
        )
        == 0
    )
    screen = capsys.readouterr().out
    assert "A B" in screen and "Protocol native" in screen and "Purity of weights" in screen
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    wide = {
        f"result_{label}/{name}_{tag}_{metric}_vs_sam.csv"
        for label, tag in (("bundled_clip", "clip"), ("a_b", "b"))
        for name in ("pets", "mine")
        for metric in ("accuracy", "silhouette")
    }
    figures = {
        f"figures/{kind}_{name}.{suffix}"
        for kind in ("neuron_pruning", "purity_gap")
        for name in ("pets", "mine")
        for suffix in ("png", "svg")
    }
    swept, told = (
        ("results", "comparisons", "curves", "attributions", "verdicts"),
        ("importance", "class_importance", "confusions", "examples", "orders"),
    )
    names = (*swept, *told, "words", "neurons")
    tables = {f"{name}.{end}" for name in names for end in ("csv", "parquet")} | {
        "thumbnails.parquet"
    }
    cosines = {f"cosines_{label}.npz" for label in ("bundled_clip", "a_b")}
    assert files == wide | figures | tables | cosines | {"manifest.json", "report.html"}
    table = pd.read_csv(out / "results.csv")
    assert list(table.columns) == list(RESULTS.columns)
    assert len(table) == 2 * 2 * (1 + (2 + 2) * 2) * 4
    whole = table[(table.k == 512) & (table.dataset == "mine")].groupby(["model", "metric"]).value
    assert (whole.max() - whole.min()).lt(1e-6).all()


def test_the_same_run_again_gives_the_same_bytes_and_another_is_refused(
    folder, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    command = [
        "sweep",
        "bundled:clip",
        "--data",
        f"folder:{folder}",
        "--draws",
        1,
        *QUICK,
        "--out",
        out,
    ]
    assert run(*command) == 0
    first = (out / "results.csv").read_bytes()
    assert run(*command) == 0
    assert (out / "results.csv").read_bytes() == first
    capsys.readouterr()
    message = fails(capsys, *command, "--seed", 5)
    assert (
        "another run: its settings differ (seed 0 there, 5 here)" in message
        and "--overwrite" in message
    )
    assert (out / "results.csv").read_bytes() == first
    assert run(*command, "--seed", 5, "--overwrite") == 0
    assert (out / "results.csv").read_bytes() != first


def test_results_that_no_manifest_explains_are_left_alone(folder, tmp_path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.csv").write_text("precious")
    message = fails(
        capsys, "sweep", "bundled:clip", "--data", f"folder:{folder}", "--out", tmp_path / "out"
    )
    assert "results.csv" in message
    assert (tmp_path / "out" / "results.csv").read_text() == "precious"
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"keep": "0"}, r"k = 0 .*\n.*1 to 512"),
        ({"keep": "513"}, r"k = 513 .*\n.*1 to 512"),
        ({"keep": "2.5"}, r"'2\.5' is neither a whole number"),
        ({"data": "bundled:flag"}, r"did you mean 'flags'"),
        ({"data": "cifar1O"}, r"did you mean 'cifar10"),
        ({"data": "cifar10"}, r"cifar10(?s:.*)to fix:   --data-root DIR"),
        ({"keep": "100-500"}, r"to fix:   did you mean 100:500:50\?"),
        ({"model": "bundled:lclip"}, r"did you mean 'laclip'"),
        ({"model": "missing.pt"}, r"missing\.pt"),
        ({"data": "folder:nowhere"}, r"nowhere"),
        ({"data": "features:nowhere.npz"}, r"nowhere\.npz"),
        ({"device": "abacus"}, r"abacus"),
    ],
)
def test_bad_input_is_one_screen_and_leaves_nothing(change, says, tmp_path, capsys) -> None:
    given = {
        "model": "bundled:clip",
        "data": "bundled:flags",
        "keep": "256",
        "device": "cpu",
    } | change
    out = tmp_path / "out"
    options = [part for name in ("data", "keep", "device") for part in (f"--{name}", given[name])]
    message = fails(capsys, "sweep", given["model"], *options, "--out", out)
    assert re.search(says, message), message
    assert not out.exists()


def test_files_of_different_architectures_go_into_one_run(folder, tmp_path, capsys) -> None:
    first, second = ({"embed_dim": 12, "vision_cfg": {"image_size": 32, "layers": 1, "width": width, "patch_size": 16},
                      "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}}
                     for width in (64, 128))  # fmt: skip
    models = [f"open_clip:{name}/{tmp_path / name}.pt" for name in ("tiny-a", "tiny-b")]
    with registered(tmp_path, {"tiny-a": first, "tiny-b": second}):
        command = ["--data", f"folder:{folder}", "--keep", 6, "--draws", 1, "--no-cache", *QUICK]
        command += ["--out", tmp_path / "out"]
        assert run("sweep", *models, *command) == 0
        assert pd.read_csv(tmp_path / "out" / "results.csv").model.unique().tolist() == [
            "tiny a",
            "tiny b",
        ]
        message = fails(capsys, "sweep", *models, *command, "--arch", "tiny-a")
    assert "bare file only" in message and "open_clip:tiny-a/FILE" in message


@contextmanager
def registered(folder: Path, configs: dict[str, dict]) -> Iterator[None]:
    """Architectures that open_clip knows, and a bare file of random weights of each."""
    import open_clip
    from open_clip import factory

    paths, known = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        torch.save(open_clip.create_model(name).state_dict(), folder / f"{name}.pt")
    yield
    factory._MODEL_CONFIG_PATHS[:] = paths
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(known)


def test_every_option_is_taken_by_a_command_and_used(capsys) -> None:
    """`read`, `encoded` and `tracked` name options by their names: none is forgotten in the
    table.
    """
    taken = {
        option.opts[-1].lstrip("-")
        for command in cli.commands.values()
        for option in command.params
    }
    assert set(options._OPTIONS) <= taken
    layers = {option.opts[-1] for option in cli.commands["layers"].params}
    assert "--batch-size" in layers and not {"--cache", "--no-cache", "--precision"} & layers


def test_no_model_and_no_dataset_are_refused(tmp_path, capsys) -> None:
    assert "MODEL" in fails(capsys, "sweep", "--data", "bundled:flags", "--out", tmp_path / "out")
    assert "--data" in fails(capsys, "sweep", "bundled:clip", "--out", tmp_path / "out")


def test_names_that_would_share_files_are_refused(folder, tmp_path, capsys) -> None:
    both = ["--data", f"folder:{folder}", "--data", f"folder:{folder}"]
    assert "'pets'" in fails(capsys, "sweep", "bundled:clip", *both, "--out", tmp_path / "out")
    same = ["a b=bundled:clip", "A_B=bundled:laclip"]
    assert "NEWLABEL" in fails(
        capsys, "sweep", *same, "--data", f"folder:{folder}", "--out", tmp_path / "out"
    )


def test_a_broken_image_is_named_and_can_be_skipped(folder, tmp_path, capsys) -> None:
    (folder / "cat" / "torn.png").write_bytes(b"\x89PNG no more")
    command = [
        "sweep",
        "bundled:clip",
        "--data",
        f"folder:{folder}",
        "--draws",
        0,
        *QUICK,
        "--out",
        tmp_path / "out",
    ]
    assert "torn.png" in fails(capsys, *command)
    assert run(*command, "--on-bad-image", "skip", "--overwrite") == 0
    assert pd.read_csv(tmp_path / "out" / "results.csv").n.eq(6).all()
    assert "torn.png" in (tmp_path / "out" / "manifest.json").read_text()


def test_purity_ranks_every_neuron(tmp_path, capsys) -> None:
    assert run("purity", "bundled:clip", "--out", tmp_path) == 0
    assert "overlap of 512 neurons" in capsys.readouterr().out
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip.csv")
    assert sorted(neurons.neuron) == list(range(512))
    assert neurons.total_overlap.is_monotonic_increasing
    np.testing.assert_allclose(
        neurons.total_overlap, 511 * (neurons.image_overlap + neurons.text_overlap), rtol=1e-12
    )
    assert (tmp_path / "purity_bundled_clip.png").exists() and (
        tmp_path / "purity_bundled_clip.svg"
    ).exists()


def test_purity_ends_with_what_to_type_next(tmp_path, capsys) -> None:
    assert run("purity", "My model=bundled:clip") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert (
        last
        == "Prune by purity: purescope sweep 'My model=bundled:clip' --data bundled:flags --out "
        "results"
    )
    assert run("purity", "bundled:clip", "--out", tmp_path / "neurons") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Report: purescope report {tmp_path / 'neurons'}"
    assert run("report", tmp_path / "neurons") == 0
    assert (tmp_path / "neurons" / "report.html").is_file()


def test_layers_end_with_how_figures_are_drawn(tmp_path, capsys) -> None:
    assert run("layers", "bundled:clip", "--out", tmp_path / "depths") == 0
    *_, look, tables, figures = capsys.readouterr().out.splitlines()
    assert look == f"Look:    {tmp_path / 'depths' / 'report.html'}"
    assert (tables, figures) == (
        f"Tables:  {tmp_path / 'depths'}",
        f"Figures: purescope plot {tmp_path / 'depths'}",
    )
    assert not list((tmp_path / "depths").rglob("*.png"))
    assert run("plot", tmp_path / "depths") == 0
    assert list((tmp_path / "depths").rglob("*.png"))


def test_what_an_option_takes_has_a_name_of_ours() -> None:
    """And not click's, such as INTEGER RANGE."""
    for name, command in cli.commands.items():
        for option in command.params if not isinstance(command, click.Group) else ():
            if (
                isinstance(option, click.Option)
                and not option.is_flag
                and not isinstance(option.type, click.Choice)
            ):
                assert option.metavar, f"{name} {option.opts}"


def test_catalogues_name_what_is_bundled(capsys) -> None:
    assert run("models") == 0
    assert "bundled:laclip" in capsys.readouterr().out
    assert run("datasets") == 0
    listed = capsys.readouterr().out
    assert "bundled:fashion-mnist" in listed and "cifar100" in listed


def test_help_of_every_command(capsys) -> None:
    for command in ((), ("sweep",), ("purity",), ("models",), ("datasets",), ("demo",)):
        assert run(*command, "--help") == 0
        assert "Usage: purescope" in capsys.readouterr().out


def test_the_cache_is_listed_verified_and_removed(folder, tmp_path, capsys) -> None:
    cache = ["--cache", tmp_path / "cache"]
    command = ["sweep", "bundled:clip", "--data", f"folder:{folder}", "--draws", 1, *QUICK, *cache]
    assert run(*command, "--out", tmp_path / "a") == 0
    assert run("cache", "ls", *cache) == 0
    listed = capsys.readouterr().out
    assert (
        "Bundled CLIP" in listed and "pets" in listed and "100%" in listed and "3 entries" in listed
    )  # images, classes, vocabulary
    assert run("cache", "verify", *cache) == 0
    assert "3 shards of 3 entries" in capsys.readouterr().out
    [shard] = (tmp_path / "cache" / "images").glob("*/*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    key = shard.parent.name[:8]
    message = fails(capsys, "cache", "verify", *cache)
    assert "1 of 3 shards" in message and key in message
    assert run(*command, "--out", tmp_path / "b") == 0
    assert "damaged and made again" in capsys.readouterr().err
    assert (tmp_path / "b" / "results.csv").read_bytes() == (
        tmp_path / "a" / "results.csv"
    ).read_bytes()
    assert "name the keys" in fails(capsys, "cache", "rm", *cache)
    assert run("cache", "rm", key, *cache) == 0
    assert "removed 1 entries" in capsys.readouterr().out
    assert run("cache", "rm", "--all", *cache) == 0
    assert run("cache", "ls", *cache) == 0
    assert "0 entries" in capsys.readouterr().out


def test_no_cache_keeps_nothing(folder, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PURESCOPE_CACHE", str(tmp_path / "cache"))
    command = ["sweep", "bundled:clip", "--data", f"folder:{folder}", "--draws", 1, *QUICK]
    assert run(*command, "--no-cache", "--out", tmp_path / "a") == 0
    assert not (tmp_path / "cache").exists()
    assert run(*command, "--out", tmp_path / "b") == 0
    assert (tmp_path / "cache").is_dir()
    assert (tmp_path / "b" / "results.csv").read_bytes() == (
        tmp_path / "a" / "results.csv"
    ).read_bytes()


def test_purity_of_activations_is_over_a_dataset(folder, tmp_path, capsys) -> None:
    assert (
        run(
            "purity",
            "bundled:clip",
            "--space",
            "centred",
            "--data",
            f"folder:{folder}",
            "--out",
            tmp_path,
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "centred on pets" in said
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip_centred_on_pets.csv")
    features = extract(load_model("bundled:clip"), load_dataset(f"folder:{folder}"))
    expected = overlap(activation_space(features.image, features.text, centred=True).image)
    assert neurons.sort_values("neuron").image_overlap.tolist() == pytest.approx(
        expected.tolist(), abs=1e-5
    )


@pytest.mark.parametrize("options", [("--space", "activations"), ("--data", "bundled:flags")])
def test_purity_of_activations_needs_a_dataset_and_weights_none(options, capsys) -> None:
    assert run("purity", "bundled:clip", *options) == 2
    assert "give --data with --space activations or centred" in capsys.readouterr().err


def test_purity_shows_the_measures_asked_for(tmp_path, capsys) -> None:
    assert (
        run("purity", "bundled:clip", "--measure", "linf", "--measure", "r2", "--out", tmp_path)
        == 0
    )
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip.csv")
    assert {"image_linf", "text_linf", "image_r2", "text_r2"} <= set(neurons)


def test_every_name_in_the_help_can_be_given(capsys) -> None:
    """The help names strategies and measures without loading them."""
    assert run("sweep", "--help") == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {*all_strategies(), *MEASURES, *TOWERS, *ABLATIONS, *SPACES} <= words


@pytest.mark.parametrize(
    ("arguments", "came", "fix"),
    [
        (["sweeep"], "no such command 'sweeep'", "did you mean 'sweep'"),
        (
            ["sweep", "bundled:clip", "--dat", "x"],
            "no such option '--dat'",
            "did you mean '--data'",
        ),
        (["sweep", "bundled:clip"], "missing option '--data'", "see `purescope sweep --help`"),
        (["purity"], "missing argument 'MODEL...'", "see `purescope purity --help`"),
        (
            ["purity", "bundled:clip", "--top", "0"],
            "invalid value for '--top': 0",
            "see `purescope purity --help`",
        ),
        (
            ["purity", "bundled:clip", "--top"],
            "option '--top' requires an argument",
            "see `purescope COMMAND --help`",
        ),
        (
            ["purity", "bundled:clip", "--space", "weight"],
            "--space weight\n  expected: one of",
            "did you mean 'weights'",
        ),
        (
            ["cache", "rm"],
            "name the keys to remove, or give --all",
            "see `purescope cache rm --help`",
        ),
    ],
)
def test_a_wrong_command_line_is_told_like_every_error(arguments, came, fix, capsys) -> None:
    message = fails(capsys, *arguments)
    assert message.startswith(f"purescope: {came}"), message
    assert f"\n  to fix:   {fix}" in message and "Usage" not in message and "Error" not in message


def test_without_a_command_there_is_help(capsys) -> None:
    run()
    printed = capsys.readouterr()
    assert "Usage: purescope" in printed.out + printed.err
    assert run("--version") == 0 and "purescope" in capsys.readouterr().out


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_ctrl_c_ends_without_a_traceback(interrupt, monkeypatch, capsys) -> None:
    def stopped() -> None:
        raise interrupt

    monkeypatch.setattr(cli.commands["models"], "callback", stopped)
    assert run("models") == 130
    message = capsys.readouterr().err
    assert message.strip() == "purescope: stopped"


@pytest.mark.parametrize(("environment", "red"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_what_came_is_red_on_a_terminal_unless_that_is_not_wanted(
    environment, red, monkeypatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    assert run("sweeep") == 2
    came, *advice = screen.getvalue().splitlines()
    assert ("\x1b[31m" in came) == red and not any("\x1b" in line for line in advice)


def test_strategies_that_look_at_labels_may_be_alone(tmp_path, capsys) -> None:
    """There is then nothing blind to say what half of the neurons keeps."""
    text, labels = np.eye(3, 16), np.arange(30) % 3
    np.savez(tmp_path / "easy.npz", image=text[labels] + 0.01, text=text, labels=labels)
    given = [
        "--data",
        f"features:{tmp_path / 'easy.npz'}",
        "--space",
        "activations",
        "--strategies",
        "importance",
    ]
    few = [
        "--draws",
        0,
        "--resamples",
        20,
        "--keep",
        8,
        "--no-figures",
        "--no-report",
        "--out",
        tmp_path / "out",
    ]
    assert run("sweep", *given, *few) == 0
    assert "100.0" in capsys.readouterr().out and run("report", tmp_path / "out") == 0
