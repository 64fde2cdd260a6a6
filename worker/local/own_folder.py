"""The data folder of `signal-mailgun run`: private to its owner, as is each secret in it."""

import hashlib
import os
import stat
from pathlib import Path

SECRET_MODE = 0o600
FOLDER_MODE = 0o700
REDIS_USER = "signal-mailgun"


class FolderError(Exception):
    """The error of a folder that cannot be made private; its text is one line with the fix."""


def make_own_folder(path: Path) -> Path:
    """Make the folder for its owner alone, or make it private, and return its absolute path.

    Raises:
        FolderError: The path is a link, is no folder, belongs to another user, or cannot be made.
    """
    try:
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        found = path.lstat()
        # `lstat` does not follow a link, with which another user could choose the folder.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise FolderError(f"{path} is no folder of this user; move it away")
        path.chmod(FOLDER_MODE)
    except OSError as error:
        raise FolderError(
            f"the folder {path} cannot be made: {error.strerror}; start in another folder"
        ) from None
    return path.absolute()


def write_secret(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, replacing an existing one, and return its path."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    return path


def write_redis_users(path: Path, password: str) -> Path:
    """Write the ACL file of an embedded server, and return its path.

    The file has one user, `REDIS_USER`, with all rights; it holds only a digest of the password.
    Without a password a connection may only send PING.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    lines = (
        "user default on nopass resetkeys resetchannels -@all +ping",
        f"user {REDIS_USER} on #{digest} ~* &* +@all",
    )
    return write_secret(path, "\n".join(lines))
