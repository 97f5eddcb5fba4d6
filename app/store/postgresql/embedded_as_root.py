"""A place for root's embedded PostgreSQL, which must not run as root.

It runs as `nobody`, who cannot enter what only root can: /root itself, or a private checkout. Rather than open such
directories to everybody, the data and a copy of the binaries then live in a directory of their own.
"""

import hashlib
import os
import pwd
import shutil
from pathlib import Path

USER = "nobody"
_ELSEWHERE = Path("/var/tmp")  # noqa: S108 - survives a restart; what is made there is nobody's alone


def places_for_root(home: Path, binaries: Path) -> tuple[Path, Path]:
    """Return where the cluster and the binaries are to be, so that `nobody` can reach both."""
    if _can_be_entered(home) and _can_be_entered(binaries):
        return home / "cluster", binaries
    name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    elsewhere = _ELSEWHERE / f"broker-postgresql-{name}"
    elsewhere.mkdir(mode=0o700, exist_ok=True)
    # The binaries find the wheel's libraries by their place beside the package.
    package = binaries.parents[1]
    if not (elsewhere / "install").exists():
        draft = elsewhere / "install.draft"
        shutil.copytree(binaries.parent, draft / package.name / binaries.parent.name, symlinks=True, dirs_exist_ok=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True, dirs_exist_ok=True)
        draft.rename(elsewhere / "install")
    hand_over(elsewhere)
    return elsewhere / "cluster", elsewhere / "install" / binaries.relative_to(package.parent)


def hand_over(directory: Path) -> None:
    """Make a directory of root's the server's own."""
    owner = pwd.getpwnam(USER)
    os.chown(directory, owner.pw_uid, owner.pw_gid)


def _can_be_entered(directory: Path) -> bool:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return all(path.stat().st_mode & 0o001 for path in (existing, *existing.parents))
