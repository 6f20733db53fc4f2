"""``python -m purescope.cli``."""

from purescope.cli import main

main()
