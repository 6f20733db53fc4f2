"""Runs that draw nothing and ask of few rotations: what that gives is tested by itself, and takes
longest.
"""

from functools import partial

from purescope.runs import doors, reproduction
from purescope.runs import run as _run

run = partial(_run.run, figures=False, report=False)
run_sweep = partial(_run.run_sweep, figures=False, report=False, rotations=2)
run_evidence = partial(doors.run_evidence, figures=False, report=False, rotations=2)
run_compare = partial(doors.run_compare, figures=False, report=False, rotations=2)
run_reproduction = partial(reproduction.run_reproduction, figures=False, report=False, rotations=2)
