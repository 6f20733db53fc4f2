"""``purescope choose``: how many dimensions are enough, read from a folder of results."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from purescope.cli import output, terminal
from purescope.cli.paths import RESULTS, check_results
from purescope.errors import InputError, listed
from purescope.formats import is_axes, signed_interval, signed_points, strategy_name

if TYPE_CHECKING:
    from purescope.reduce.shares import Choice, Share


@click.command(short_help="Choose the fewest dimensions that keep a share of the accuracy.")
@click.argument("folder", type=RESULTS, metavar="RESULTS")
@click.option(
    "--keep-at-least",
    default="99%",
    show_default=True,
    metavar="SHARE",
    help="Share to keep of what all neurons reach: 99% or 0.99. The lower end of its 95 % "
    "confidence interval must reach it.",
)
@click.option(
    "--of",
    default="accuracy",
    show_default=True,
    metavar="METRIC",
    help="Metric of which the share is kept: accuracy; of images mean_average_precision, "
    "knn_accuracy@5 or linear_probe_accuracy; of captions image_retrieval_recall@5, "
    "text_retrieval_recall@5 or another metric of the sweep.",
)
@click.option(
    "--over",
    type=click.Choice(["worst", "mean"]),
    default="worst",
    show_default=True,
    help="Reach the share on every dataset, or in the mean over the datasets.",
)
@click.option(
    "--multiple-of",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Consider only numbers of dimensions that N divides.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, for a program.")
def choose(
    folder: Path, keep_at_least: str, of: str, over: str, multiple_of: int, as_json: bool
) -> None:
    """Print the fewest dimensions of each model in RESULTS that keep a share of the metric.

    RESULTS is the folder of a sweep. The choice is made on one half of the images and judged on
    the other. Sweep with --renormalise, which measures a smaller model as it is used: image and
    text are scaled to unit length over what is kept.

    \b
    Examples:
      purescope sweep bundled:clip --data bundled:digits --strategies svd,first_k --renormalise --out kept
      purescope choose kept --keep-at-least 99% --multiple-of 8
    """  # noqa: D301, E501 click does not wrap a paragraph after this mark
    check_results(folder)
    from purescope.reduce.choosing import choose

    target = _parse_share(keep_at_least)
    choices = choose(folder, keep_at_least=target, of=of, over=over, multiple_of=multiple_of)
    if as_json:
        output.print_line(json.dumps([choice.to_json() for choice in choices]))
        return
    for choice in choices:
        _print_choice(choice)


def _parse_share(text: str) -> float:
    """Return a share that is written as a percentage or as a fraction."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text, re.ASCII)
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 < share <= 1:
        raise InputError(f"--keep-at-least {text}", expected="a share such as 99% or 0.99")
    return share


def _print_choice(choice: "Choice") -> None:
    console = terminal.make_console()
    output.print_line(f"{choice.model}: {_sentence(choice)}")
    for note in _notes(choice):
        output.print_line(f"  {note}")
    if not choice.needed:
        return
    at_k = f"judged at {choice.k:,}" if choice.k else "judged"
    table = terminal.make_table(
        f"{choice.model}, {_where(choice)}", "kept first", "dimensions needed", at_k
    )
    order = sorted(choice.needed, key=lambda name: choice.needed[name] or choice.neurons + 1)
    for name in order:
        k, share = choice.needed[name], choice.at_k.get(name)
        needed = f"{k:,}" if k else "more than were measured"
        terminal.add_row(table, strategy_name(name), needed, _interval(share) if share else "")
    console.print(table)
    if choice.command:
        step = {"Make it smaller": terminal.runnable(choice.command)}
        terminal.print_next_steps(console, step)


def _sentence(choice: "Choice") -> str:
    share = f"{100 * choice.target:.6g} %"
    if not choice.needed:
        return f"no dataset counts: the {choice.metric} of all neurons cannot be told from chance"
    if choice.k is None or choice.strategy is None or choice.judged is None:
        sentence = (
            f"no number of dimensions that was measured keeps {share} of the {choice.metric} for "
            f"certain, {_where(choice)}."
        )
        if choice.closest is not None:
            name = strategy_name(choice.closest.strategy)
            sentence += f" The closest are {choice.closest.k:,}, {name}: "
            sentence += f"{_interval(choice.closest.share)}. More images, or more k, can decide it."
        return sentence
    on = f", {choice.worst}" if choice.over == "worst" and len(choice.counted) > 1 else ""
    sentence = (
        f"{choice.k:,} of {choice.neurons:,} dimensions, {strategy_name(choice.strategy)}, keep at "
        f"least {share} of the {choice.metric}, {_where(choice)}. On the other half of the images "
        f"they keep {_interval(choice.judged)}{on}."
    )
    if choice.judged.low < choice.target:
        sentence += f" That half by itself is not certain of {share}."
    return sentence


def _notes(choice: "Choice") -> list[str]:
    notes = []
    over = {"raw truncation": choice.over_first_k, "random dimensions": choice.over_random}
    differences = [
        f"{signed_points(one.share)} over {name} ({signed_interval(one.low, one.high)})"
        for name, one in over.items()
        if one is not None
    ]
    if differences:
        notes.append(f"In points of {choice.metric}, that is {', and '.join(differences)}.")
    if "first_k" not in choice.needed:
        notes.append(
            "Raw truncation was not measured: sweep with --strategies first_k among others."
        )
    if choice.uncounted:
        notes.append(
            f"Left out, since its {choice.metric} is that of chance: {listed(choice.uncounted)}."
        )
    if not choice.as_deployed:
        notes.append(
            "Class features were not scaled again over what is kept, as a smaller model does it: "
            "sweep with --renormalise."
            if choice.metric == "accuracy"
            else "Embeddings were not scaled again over what is kept, as a smaller model does it: "
            "sweep without --no-renormalise."
        )
    if choice.strategy is not None and choice.strategy.startswith("pca"):
        notes.append("The axes of pca were fitted to all images, also to those that judge.")
    if choice.k not in (None, choice.neurons) and not choice.command:
        notes.append(_without_command(choice))
    return notes


def _without_command(choice: "Choice") -> str:
    """Say why no single command makes the smaller model, and what does instead."""
    assert choice.strategy is not None
    if choice.spec in ("", "features"):
        return (
            "The sweep names no model to export. `purescope rebase --data features:PATH` fits axes "
            "to embeddings, and `purescope shrink` keeps the first of them."
        )
    if is_axes(choice.strategy):
        return (
            "The axes were fitted to each dataset anew: `purescope export MODEL --axes "
            f"{choice.strategy} --data DATASET` fits them to data of yours."
        )
    return (
        "The neurons were ordered by data or by options of their own: write them into a file, and "
        "`purescope export MODEL --order FILE` keeps the first."
    )


def _where(choice: "Choice") -> str:
    sets = len(choice.counted)
    if choice.over == "mean":
        return f"in the mean over {sets} datasets"
    return "on the dataset" if sets == 1 else f"on the worst of {sets} datasets"


def _interval(share: "Share") -> str:
    return f"{100 * share.share:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"
