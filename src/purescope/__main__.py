"""Run ``python -m purescope`` as the command ``purescope``."""

import sys

# Python searches the current folder first for modules. A file in it with the name of a library must
# not be run by the command. `purescope` itself is imported already.
if __package__ and not sys.flags.safe_path:
    del sys.path[0]

from purescope.cli import main

main()
