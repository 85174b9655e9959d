"""Fakes that pass the same conformance suites as the real things."""
