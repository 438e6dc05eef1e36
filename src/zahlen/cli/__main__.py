"""``python -m zahlen.cli``."""

from . import main

main()
