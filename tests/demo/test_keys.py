import stat
from dataclasses import replace
from pathlib import Path

import pytest

from app.base.encryption import KeyRing
from app.demo.expectations import Unexpected
from app.demo.keys import KeyFile, new_keys


def test_kept_keys_are_for_their_owner_alone_and_come_back(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    first = file.load(has_database=False)
    file.save(replace(first, api_key="brk_kept"))
    again = file.load(has_database=True)
    assert (again.encryption_keys, again.api_key) == (first.encryption_keys, "brk_kept")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file.path]
    assert KeyRing.parse(again.encryption_keys).key_ids == ("demo",)


def test_a_key_of_a_deleted_database_is_not_used(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.save(replace(new_keys(), api_key="brk_old"))
    assert file.load(has_database=False).api_key is None


@pytest.mark.parametrize("content", [None, "", "[]", '{"encryption_keys": "x"}'])
def test_data_whose_keys_are_lost_is_not_overwritten(tmp_path: Path, content: str | None) -> None:
    file = KeyFile(tmp_path)
    if content is not None:
        file.path.write_text(content)
    with pytest.raises(Unexpected, match="Delete the directory to start again"):
        file.load(has_database=True)


def test_keys_do_not_print() -> None:
    keys = replace(new_keys(), api_key="brk_secret")
    assert "brk_secret" not in repr(keys)
    assert keys.client_secret not in repr(keys)
    assert keys.encryption_keys not in repr(keys)
