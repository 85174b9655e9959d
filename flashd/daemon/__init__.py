"""The composition root: configuration -> store -> actors -> web, and the reverse at the end."""

from flashd.daemon.life import run

__all__ = ["run"]
