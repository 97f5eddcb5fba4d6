"""The refresh protocol under kills, outages and faults: `python -m chaos`. Real processes, real signals."""
