"""``python -m flashd``."""

from flashd.cli import main

main()
