"""Sales channels: one adapter a file, found by entry points; signature, reading and schema are what they share."""
