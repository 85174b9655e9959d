"""What happens to intake and memory when there is more of something: `make bench-growth`."""
