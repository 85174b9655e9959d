"""One file per sales channel."""
