"""Work that runs on its own: housekeeping, retention, gauges, and reloading the encryption keys.

Imports the topics whose data it maintains.
"""
