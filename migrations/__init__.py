"""The migrations of the database, and the revision that they lead to."""

# Known without importing Alembic, which takes a tenth of a second. A test compares it with the scripts.
HEAD_REVISION = "0001"
