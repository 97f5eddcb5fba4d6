"""Tests the refresh protocol under kills, outages and faults, with real processes: `python -m chaos`."""
