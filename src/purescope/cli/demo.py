"""``purescope demo``: the whole experiment on the bundled pair, told to a newcomer."""

from pathlib import Path

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS

MODELS = ("bundled:clip", "bundled:laclip")
DATASETS = ("emoji", "flags", "icons", "clipart", "fashion-mnist", "openmoji")

_STORY = """\
[bold]purescope demo[/bold]: can half of an embedding go, and does it matter which half?
Two small CLIP models, trained by this project on drawings, turn pictures and class names into 512
numbers, one for each neuron. A neuron is [bold]pure[/bold] when its weights point in a direction of their own.
Kept are k neurons: the purest, the least pure, or 50 random choices, of which the median is shown; or k
other axes of the same numbers, those that carry most weight ([bold]svd[/bold]).
The question is which class name fits each picture best; small curves show accuracy as k grows.
"""


@click.command(short_help="The whole experiment on the bundled models and images, in one to two minutes.")
@click.option(
    "--out",
    type=RESULTS,
    default=Path("purescope-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results.",
)
def demo(out: Path) -> None:
    """Run the pruning experiment on two small models and six image sets that come with purescope."""
    from purescope.runs._inputs import Settings, Sources
    from purescope.runs._run import run_sweep

    screen = terminal.console()
    screen.print(_STORY)
    with terminal.telling(most=2):
        table = run_sweep(
            MODELS,
            [f"bundled:{name}" for name in DATASETS],
            out,
            sources=Sources(cache=options.default_cache()),
            settings=Settings(strategies=("high_purity", "low_purity", "svd")),
            progress=terminal.progress,
        )
    terminal.accuracies(screen, table)
    terminal.conclusions(screen, table, out)
    terminal.run_ends(
        screen,
        out,
        **{
            "All neurons, ranked": terminal.typed("purescope purity bundled:laclip"),
            "Your checkpoint and images": terminal.typed("purescope sweep MY.pt --data folder:MY_IMAGES --out results"),
        },
    )
