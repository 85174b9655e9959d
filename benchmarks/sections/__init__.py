"""What `make bench` measures: a file a section, each on processes of its own, so that a failed one spoils no other."""
