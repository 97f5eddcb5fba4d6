"""The HTTP API. Only this folder and `app.main` import the web framework.

Imports `runtime` and the topics.
"""
