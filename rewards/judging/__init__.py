"""Generative judges: a format (what the judge is asked, and how its verdict is read) and a generator (who writes)."""
