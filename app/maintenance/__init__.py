"""Work that no request starts: housekeeping, retention, gauges, and reloading the encryption keys.

Imports the topics whose data it maintains.
"""
