"""Settings of a broker for tests."""

import base64
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.settings import Settings
from sandbox.settings import CLIENT_ID, CLIENT_SECRET

# The sandbox has registered the redirect URI below this URL. `Browser` connects to the real address instead.
PUBLIC_URL = "http://127.0.0.1:8000"
RETURN_URLS = ("https://shop.example/done", "https://shop.example/below/*", "http://localhost:3000/bank/*")
ENCRYPTION_KEY = base64.b64encode(bytes(range(32))).decode()


def settings_for(bank_url: str, database_url: SecretStr, data_dir: Path, **changes: Any) -> Settings:
    """Return the settings of a broker for this bank and database."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "data_dir": data_dir,
        "public_url": PUBLIC_URL,
        "return_urls": RETURN_URLS,
        "stitch_issuer": bank_url,
        "stitch_client_id": CLIENT_ID,
        "stitch_client_secret": SecretStr(CLIENT_SECRET),
        "stitch_graphql_url": f"{bank_url}/graphql",
        "encryption_keys": SecretStr(f"test:{ENCRYPTION_KEY}"),
        # The shared broker must not cache what the bank announces in one test.
        "stitch_par": "off",
        "stitch_dpop": "off",
        "webhook_private_networks": ("127.0.0.0/8",),
    }
    return Settings(**(values | changes))
