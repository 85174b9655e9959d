"""Arithmetic: pure rules over frozen Structs; no I/O, no clock, no loop."""
