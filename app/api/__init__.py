"""The HTTP edge. FastAPI is known here and in `app.main` only."""
