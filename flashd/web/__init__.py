"""The HTTP listeners: intake and admin."""
