"""The demo: simulated shops and a simulated ERP around the real daemon, and an oracle that trusts none of them."""
