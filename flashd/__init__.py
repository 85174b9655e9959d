"""flashd: the flash-sale daemon that never oversells, never floods, never loses."""

__version__ = "0.1.0"
