"""The token broker: Stitch user tokens, kept and refreshed, so that no internal service ever holds one."""

__version__ = "0.1.0"
