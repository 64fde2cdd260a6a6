"""The file that holds Mailgun's API key; it is read only if no other user can have written it."""

import os
import stat
from pathlib import Path

LONGEST = 64 * 1024  # bytes that are read at most


class KeyFileError(ValueError):
    """A key file that other users could have written; its text follows the setting's name."""


def key_in(path: Path) -> str:
    """Return the text of the key file.

    Raises:
        KeyFileError: Other users can write the file, or a folder that it lies in.
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is not UTF-8.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            _check(path, found)
        return file.read(LONGEST).decode()


def others_may_read(path: Path) -> bool:
    """Return True if all users can read the file, and this process, not root, owns it."""
    found = path.stat()
    return (
        stat.S_ISREG(found.st_mode)
        and bool(found.st_mode & stat.S_IROTH)
        and found.st_uid == os.geteuid() != 0
    )


def _check(path: Path, found: os.stat_result) -> None:
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFileError(
            "can be written by other users, who could put their own key there; run chmod go-w on it"
        )
    folders = [each.stat().st_mode for each in (path.absolute().parent, *path.resolve().parents)]
    if any(folder & stat.S_IWOTH and not folder & stat.S_ISVTX for folder in folders):
        raise KeyFileError(
            "lies in a folder that every user can write; move it, or run chmod o-w on the folder"
        )
