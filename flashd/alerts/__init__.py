"""How a message reaches a person: a file for each way out, behind the port `Messenger`."""
