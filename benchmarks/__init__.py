"""Ratios, measured side by side in one run: `make bench`. Never a test, and no part of the package."""
