"""A token broker for Stitch: it stores and refreshes user tokens, so that no internal service ever holds one."""

__version__ = "0.1.0"
