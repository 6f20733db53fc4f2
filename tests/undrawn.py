"""Runs that draw nothing: figures and page are made of the tables alone, tested by themselves, and take longest."""

from functools import partial

from purescope import reproduction, runs, studies

run = partial(runs.run, figures=False, report=False)
run_sweep = partial(runs.run_sweep, figures=False, report=False)
run_evidence = partial(studies.run_evidence, figures=False, report=False)
run_compare = partial(studies.run_compare, figures=False, report=False)
run_reproduction = partial(reproduction.run_reproduction, figures=False, report=False)
