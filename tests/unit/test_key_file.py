"""The key file: read only if no other user can have written it."""

import logging
import os
from pathlib import Path

import pytest

from worker.environment.key_file import KeyFileError, key_in, others_may_read
from worker.environment.names import SettingsError
from worker.settings import load_settings


@pytest.fixture
def key(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "key"
    path.write_text("key-of-nobody\n")
    return path


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o640, 0o644])
def test_a_file_that_only_its_owner_can_write_is_read(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert key_in(key) == "key-of-nobody\n"


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o622, 0o660, 0o664, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        key_in(key)


@pytest.mark.parametrize(
    ("mode", "refused"), [(0o777, True), (0o702, True), (0o1777, False), (0o3777, False)]
)
def test_a_folder_in_which_others_can_replace_the_file_is_refused(
    key: Path, mode: int, *, refused: bool
) -> None:
    key.chmod(0o600)
    key.parent.chmod(mode)
    if refused:
        with pytest.raises(KeyFileError, match="chmod o-w"):
            key_in(key)
    else:
        assert key_in(key)


def test_link_to_a_key_file_is_judged_by_its_target(key: Path) -> None:
    key.chmod(0o666)
    link = key.with_name("link")
    link.symlink_to(key)
    with pytest.raises(KeyFileError):
        key_in(link)
    key.chmod(0o600)
    assert key_in(link) == "key-of-nobody\n"


def test_a_link_that_others_can_replace_is_refused(key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "link").symlink_to(key)
    with pytest.raises(KeyFileError):
        key_in(folder / "link")


def test_a_pipe_is_read_and_no_more_of_a_file_than_a_key_can_be(key: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"key-from-a-pipe")
    os.close(writing)
    assert key_in(Path(f"/dev/fd/{reading}")) == "key-from-a-pipe"
    os.close(reading)
    with key.open("wb") as file:
        file.truncate(1 << 40)
    assert len(key_in(key)) == 64 * 1024


def test_the_program_refuses_the_file_in_one_line(
    key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILGUN_API_KEY_FILE", str(key))
    monkeypatch.delenv("MAILGUN_API_KEY", raising=False)
    key.chmod(0o666)
    with pytest.raises(SettingsError) as caught:
        _ = load_settings().mailgun_key
    assert str(caught.value).startswith("MAILGUN_API_KEY_FILE can be written by other users")
    assert str(caught.value).isprintable()


def test_key_file_that_all_users_can_read_is_warned_about(
    key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILGUN_API_KEY_FILE", str(key))
    monkeypatch.delenv("MAILGUN_API_KEY", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid or 1000)
    key.chmod(0o644)
    if key.stat().st_uid == 0:  # root's own files in a container are mounted so
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert not others_may_read(key)
        return
    with caplog.at_level(logging.WARNING):
        _ = load_settings().mailgun_key
    assert "chmod o-r" in caplog.text
