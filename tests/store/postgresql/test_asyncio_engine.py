import subprocess
import sys

PROGRAM = """
import sys
from app.store.postgresql.database import Database
assert "sqlalchemy.orm" not in sys.modules
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from app.store.postgresql.asyncio_engine import AsyncConnection as Used
assert Used is AsyncConnection
assert "sqlalchemy.orm" in sys.modules
"""


def test_the_orm_is_imported_only_by_what_uses_it() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
