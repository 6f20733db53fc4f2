"""``python -m purescope``: as the command ``purescope``."""

import sys

# Python puts the current folder first of where it looks for modules: a file there that is called as
# one of a library is not to be run by the command. `purescope` itself is found by now.
if __package__ and not sys.flags.safe_path:
    del sys.path[0]

from purescope.cli import main

main()
