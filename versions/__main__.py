"""``python -m versions [3.12 ...]`` tries each Python; ``--lowest [arguments of pytest]`` the
lowest libraries.
"""

import sys

from versions import lowest, pythons

_HELP = {"-h", "--help"}


def main(arguments: list[str]) -> int:
    """Choose by the first argument."""
    if _HELP & set(arguments[:1]):
        print(__doc__)
        return 0
    if arguments[:1] == ["--lowest"]:
        return lowest.main(arguments[1:])
    return pythons.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
