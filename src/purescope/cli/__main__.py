"""``python -m purescope.cli``: as ``python -m purescope``, which says why the first folder is taken
away.
"""

import sys

if __package__ and not sys.flags.safe_path:
    del sys.path[0]

from purescope.cli import main

main()
