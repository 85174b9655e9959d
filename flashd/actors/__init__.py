"""Who does what: one actor a file, talking only to ports."""
