"""How anything lives: actors, their supervisor, tickers and clocks. No domain words here."""
