"""The folder in which `signal-mailgun run` keeps what waits: its owner's alone, and so is each secret in it."""

import hashlib
import os
import stat
from pathlib import Path

SECRET_MODE = 0o600
FOLDER_MODE = 0o700
REDIS_USER = "signal-mailgun"


class FolderError(OSError):
    """The folder cannot be its owner's alone; the text is one line that says what to do."""


def make_own_folder(path: Path) -> Path:
    """Make the folder, or take it from all others if it is there. Returns its absolute path. Raises `FolderError`."""
    try:
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        found = path.lstat()
        if (
            not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid()
        ):  # a link leads to where another wants it
            raise FolderError(f"{path} is no folder of this user; move it away")
        path.chmod(FOLDER_MODE)
    except FolderError:
        raise
    except OSError as error:
        raise FolderError(
            f"the folder {path} cannot be made: {error.strerror}; start in another folder"
        ) from None
    return path.absolute()


def write_secret(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, in place of one that is there. Returns its path."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    return path


def write_redis_users(path: Path, password: str) -> Path:
    """Write the list of users of an embedded server: one with this password, of which only a digest is written.

    Without a password a connection may only ask whether the server is there. Returns the file's path.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    lines = (
        "user default on nopass resetkeys resetchannels -@all +ping",
        f"user {REDIS_USER} on #{digest} ~* &* +@all",
    )
    return write_secret(path, "\n".join(lines))
