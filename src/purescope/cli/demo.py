"""``purescope demo``: the whole experiment on the bundled pair, told to a newcomer."""

from pathlib import Path

import click

from purescope.cli import terminal

MODELS = ("bundled:clip", "bundled:laclip")
DATASETS = ("emoji", "flags", "icons", "clipart", "fashion-mnist", "openmoji")

_STORY = """\
[bold]purescope demo[/bold]: can half of an embedding go, and does it matter which half?

Two small CLIP models, trained by this project on drawings, turn pictures and class names into 512 numbers, one
for each neuron. A neuron is [bold]pure[/bold] when its weights point in a direction of their own, orthogonal to the
other neurons' weights. We keep k of the 512: the purest ([bold]high[/bold]), the least pure ([bold]low[/bold]), or 50
[bold]random[/bold] choices, whose median is shown. Then we ask which class name fits each picture best. Protocol
[bold]native[/bold]: each model gets the pictures as it was trained on them, and each picture set has its own prompts.
"""


@click.command(short_help="The whole experiment on the bundled models and images, in under a minute.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("purescope-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results.",
)
def demo(out: Path) -> None:
    """Run the pruning experiment on two small models and six image sets that come with purescope."""
    from purescope.features.cache import default_folder
    from purescope.runs import Sources, run_sweep

    screen = terminal.console()
    screen.print(_STORY)
    with terminal.warnings_as_notes():
        table = run_sweep(
            MODELS,
            [f"bundled:{name}" for name in DATASETS],
            out,
            sources=Sources(cache=default_folder()),
            progress=terminal.progress,
        )
    for model in table.model.unique():
        screen.print(terminal.result_table(table, model))
    screen.print("[bold]What came out[/bold]")
    for verdict in terminal.verdicts(table, out):
        screen.print(f"- {verdict.sentence}")
    screen.print(
        f"\nFigures: {out / 'figures'}   Tables: {out / 'results.csv'}   How it was run: {out / 'manifest.json'}\n"
        "Next: purescope purity bundled:laclip; purescope sweep --help for your own checkpoint and images.",
        soft_wrap=True,
    )
