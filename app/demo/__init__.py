"""`broker demo`: the whole journey on one machine, with real processes and over real HTTP."""
