"""What the broker costs, measured beside its peers. `make bench`; README.md tells how to read it."""
