"""Root's embedded PostgreSQL runs as `nobody`, because PostgreSQL refuses to run as root.

`nobody` cannot enter a directory that only root can enter, such as /root or a private checkout. A cluster for such a
directory is made in /var/tmp, and the directory has a link to it, so that everything finds it at the usual path and a
directory that is deleted and made again never gets the cluster of its predecessor. Programs that `nobody` cannot reach
are copied beside the cluster.
"""

import contextlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

USER = "nobody"
# Unlike /tmp, it survives a restart of the machine.
_REACHABLE = Path("/var/tmp")  # noqa: S108 - only used for directories of our own, with unpredictable names
_PREFIX = "broker-postgresql-"


def make_cluster_directory(cluster: Path) -> None:
    """Make the directory of a cluster, or a link to one that `nobody` can reach."""
    if cluster.is_symlink() and not cluster.exists():
        cluster.unlink()
    if not cluster.exists():
        if can_be_entered(cluster.parent):
            cluster.mkdir()
        else:
            elsewhere = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_REACHABLE))
            elsewhere.chmod(0o711)
            (elsewhere / "cluster").mkdir()
            cluster.symlink_to(elsewhere / "cluster")
    hand_over(cluster)


def remove_cluster(cluster: Path) -> None:
    """Remove a cluster that does not run, wherever it is."""
    if cluster.is_symlink():
        shutil.rmtree(cluster.resolve().parent, ignore_errors=True)
        cluster.unlink()
    else:
        shutil.rmtree(cluster, ignore_errors=True)


def reachable_programs(cluster: Path, programs: Path) -> Path:
    """Return a directory with PostgreSQL's programs that `nobody` can enter: `programs`, or a copy of them."""
    if can_be_entered(programs):
        return programs
    package = programs.parents[1]
    copy = cluster.resolve().parent / "programs"
    if not copy.exists():
        _copy(package, programs.parent, copy)
    return copy / programs.relative_to(package.parent)


def hand_over(directory: Path) -> None:
    """Make `nobody` the owner of a directory."""
    owner = pwd.getpwnam(USER)
    os.chown(directory, owner.pw_uid, owner.pw_gid)


def can_be_entered(directory: Path) -> bool:
    """Return whether every user can enter a directory."""
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))


def _copy(package: Path, installation: Path, copy: Path) -> None:
    draft = Path(tempfile.mkdtemp(prefix="programs-", dir=copy.parent))
    headers = shutil.ignore_patterns("include")
    shutil.copytree(installation, draft / package.name / installation.name, symlinks=True, ignore=headers)
    # The programs look for the wheel's libraries at this path beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            # Readable like the original is for its owner, even if that was installed with a private umask.
            path.chmod(mode | (mode & 0o500) >> 6 | (mode & 0o500) >> 3)
    try:
        draft.rename(copy)
    except OSError:
        # Another process has made the copy in the meantime.
        with contextlib.suppress(OSError):
            shutil.rmtree(draft)
        if not copy.exists():
            raise
