"""No model runs code: every door through which one comes in, with every payload; `make torture`
walks them all.

A door is a way to name a model. The mark that a payload's code would leave is never there, nobody
is asked anything, and what was left out of a configuration changes no number.
"""

import os
import pty
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from purescope.errors import ModelError
from purescope.files.guard import guarded
from purescope.models import load_model
from purescope.models.convert import convert
from purescope.studies.training.tracking import track
from tests.checkpoints import write_open_clip
from tests.models.test_open_clip import CONFIGS
from tests.models.test_transformers import write as write_transformers
from tests.torture.hostile_models import LOADS, OF_OPEN_CLIP, OF_TRANSFORMERS, Mark, Payload, module

LONG = bool(os.environ.get("PURESCOPE_TORTURE"))
pytestmark = pytest.mark.slow
PAYLOADS = {
    **{f"open_clip, {name}": payload for name, payload in OF_OPEN_CLIP.items()},
    **{f"transformers, {name}": payload for name, payload in OF_TRANSFORMERS.items()},
}
Door = Callable[[Path, Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder of each form."""
    place = tmp_path_factory.mktemp("good")
    write_open_clip(place / "open_clip", CONFIGS["vit"])
    write_transformers(place / "transformers", "clip")
    return place


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"somebody was asked: {arguments}")

    for place, name in (
        (socket.socket, "connect"),
        (socket, "getaddrinfo"),
        (sys.stdin, "readline"),
    ):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr("builtins.input", refuse)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and none of its modules of code."""
    for place in (
        "huggingface_hub.constants.HF_HUB_CACHE",
        "huggingface_hub.constants.HUGGINGFACE_HUB_CACHE",
    ):
        monkeypatch.setattr(place, str(tmp_path / "hub"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "hub"


def on_the_hub(folder: Path, cache: Path) -> str:
    """The name of a repository that has been fetched, with the files of a folder."""
    root = cache / "models--org--evil"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, root / "snapshots" / ("0" * 40), symlinks=True)
    return "org/evil"


def opened(spec: str) -> Door:
    """A door: what `load_model` takes, with FOLDER and REPOSITORY in it."""

    def door(folder: Path, cache: Path) -> object:
        repository = on_the_hub(folder, cache) if "REPOSITORY" in spec else ""
        return load_model(
            spec.replace("FOLDER", str(folder)).replace("REPOSITORY", repository), label="x"
        ).identity

    return door


def converted(folder: Path, cache: Path) -> object:
    convert(str(folder), cache.parent / "copy")
    copy = cache.parent / "copy"
    written = "".join(path.read_text() for path in copy.rglob("*.json"))
    assert not any(
        word in written
        for word in ("custom", "auto_map", "trust_remote", "evil", "passwd", "__globals__")
    )
    assert not {path.suffix for path in copy.rglob("*")} & {".py", ".jinja", ".bin", ".pth"}
    return load_model(str(copy), label="x").identity


def tracked(folder: Path, cache: Path) -> object:
    return track([f"x@1={folder}"]).select_dtypes("number").to_csv()


def in_the_current_folder(folder: Path, cache: Path) -> object:
    """As where somebody has changed into it, and Python looks for modules there."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, "")
    try:
        return load_model(".", label="x").identity
    finally:
        os.chdir(before)
        sys.path[:] = path


DOORS: dict[str, Door] = {
    "path": opened("FOLDER"),
    "local-dir:": opened("local-dir:FOLDER"),
    "hf:": opened("hf:FOLDER"),
    "open_clip:hf-hub:": opened("open_clip:hf-hub:REPOSITORY"),
    "hf:ORG/NAME": opened("hf:REPOSITORY"),
    "convert": converted,
    "track": tracked,
    "current folder": in_the_current_folder,
}
OF_FORM = {
    "open_clip": ("path", "local-dir:", "open_clip:hf-hub:", "convert", "track", "current folder"),
    "transformers": ("path", "hf:", "hf:ORG/NAME", "convert", "track", "current folder"),
}


def walks() -> Iterator[tuple[str, str]]:
    """Each payload through each door of its form; in short, through one, another one each time."""
    for number, name in enumerate(PAYLOADS):
        doors = OF_FORM[name.split(",")[0]]
        for door in doors if LONG else [doors[number % len(doors)]]:
            yield name, door


def hostile(name: str, good: Path, place: Path) -> tuple[Path, Payload]:
    """The folder of a payload, which has the mark `ran` beside it if it has run."""
    form = name.split(",")[0]
    folder = shutil.copytree(good / form, place / "evil", copy_function=os.link)
    PAYLOADS[name].write(folder, place / "ran")
    return folder, PAYLOADS[name]


def without_architecture(result: object) -> object:
    """It tells models apart by all that their configurations say, and is handed to no library."""
    return (
        {key: result[key] for key in result if key != "architecture"}
        if isinstance(result, dict)
        else result
    )


@pytest.mark.parametrize(("name", "door"), list(walks()))
def test_no_payload_runs_at_any_door(
    name: str, door: str, good: Path, cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, payload = hostile(name, good, tmp_path)
    loaded = set(sys.modules)
    if payload.outcome == LOADS:
        found, right = (
            DOORS[door](folder, cache),
            DOORS[door](good / name.split(",")[0], tmp_path / "other" / "hub"),
        )
        assert without_architecture(found) == without_architecture(right)
    else:
        # A repository that holds a tower of its own for open_clip is asked for another repository.
        told = (
            f"{payload.outcome}|not on this disk|cannot be loaded"
            if door == "open_clip:hf-hub:"
            else payload.outcome
        )
        with pytest.raises(ModelError, match=told):
            DOORS[door](folder, cache)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "modules").exists()
    assert not {module for module in set(sys.modules) - loaded if "transformers_modules" in module}
    output = capfd.readouterr()
    assert "[y/N]" not in output.out + output.err


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz"])
@pytest.mark.parametrize("spec", ["FILE", "open_clip:ViT-B-32/FILE", "track"])
def test_no_bare_file_runs_code(spec: str, suffix: str, tmp_path: Path) -> None:
    import torch

    path = tmp_path / f"step-1{suffix}"
    torch.save(
        {"state_dict": {"visual.conv1.weight": torch.zeros(1), "x": Mark(tmp_path / "ran")}}, path
    )
    with pytest.raises(ModelError, match=r"would run|not a readable"):
        track([str(path)]) if spec == "track" else load_model(spec.replace("FILE", str(path)))
    assert not (tmp_path / "ran").exists()


def test_the_payloads_are_harmful(tmp_path: Path) -> None:
    """The tests above could not fail if the payloads did nothing where nobody holds them."""
    import importlib.util
    import pickle

    module(tmp_path, tmp_path / "module ran")
    spec = importlib.util.spec_from_file_location("custom", tmp_path / "custom.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    pickle.loads(pickle.dumps(Mark(tmp_path / "pickle ran")))
    assert (tmp_path / "module ran").exists()
    assert (tmp_path / "pickle ran").exists()


@pytest.mark.parametrize(
    ("name", "wish"),
    [
        ("loader options", r"unpickle posix\.mkdir"),
        ("auto_map escaped", r"read the code in .*custom\.py"),
    ],
)
def test_the_second_wall_holds_without_the_first(
    name: str, wish: str, good: Path, tmp_path: Path
) -> None:
    """open_clip itself, with the hostile folder as it is, in the guard: what the first wall keeps
    away is refused.
    """
    import open_clip
    from transformers import AutoConfig

    folder, _ = hostile(f"open_clip, {name}", good, tmp_path)
    with pytest.raises(ModelError, match=f"refused, it wanted to {wish}"), guarded(folder):
        if name == "loader options":
            open_clip.get_tokenizer(f"local-dir:{folder}")
        else:
            AutoConfig.from_pretrained(folder / "tower", trust_remote_code=True)
    assert not (tmp_path / "ran").exists()


COMMANDS = {
    "purity": ["purity", "SPEC"],
    "convert": ["convert", "SPEC", "OUT"],
    "sweep": ["sweep", "SPEC", "--data", "bundled:shapes", "--out", "OUT", "--offline"],
}


def run_closed(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def run_on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """A person who answers y to everything."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, environment)
    seen = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 120)
        try:
            part = os.read(terminal, 65536) if ready else b""
        except OSError:
            part = b""
        if not part:
            break
        seen += part
        if b"[y/N]" in seen or part.rstrip().endswith(b"?"):
            os.write(terminal, b"y\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), seen.decode(errors="replace")


def commands() -> Iterator[tuple[str, str, str]]:
    if not LONG:
        yield "open_clip, loader options", "purity", "closed"
        yield "open_clip, auto_map escaped", "sweep", "terminal"
        yield "transformers, class AutoModelForCausalLM", "convert", "terminal"
        return
    for number, name in enumerate(PAYLOADS):
        if PAYLOADS[name].outcome != LOADS:
            yield name, list(COMMANDS)[number % 3], ("closed", "terminal")[number % 2]


@pytest.mark.parametrize(("name", "command", "person"), list(commands()))
def test_the_command_ends_with_2_and_asks_nobody(
    name: str, command: str, person: str, good: Path, tmp_path: Path
) -> None:
    folder, _ = hostile(name, good, tmp_path)
    words = [
        word.replace("SPEC", str(folder)).replace("OUT", str(tmp_path / "out"))
        for word in COMMANDS[command]
    ]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "COLUMNS": "500",
    }
    run = {"closed": run_closed, "terminal": run_on_a_terminal}[person]
    code, output = run([sys.executable, "-m", "purescope", *words], environment)
    assert code == 2, output
    assert "[y/N]" not in output
    assert "Traceback" not in output
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "modules").exists()
