"""Vendure 3 as a sales channel of flashd: a plug-in in a package of its own."""
