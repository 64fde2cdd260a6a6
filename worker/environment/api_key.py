"""Mailgun's API key, from its variable or from the file that holds it."""

import re
from pathlib import Path

from pydantic import SecretStr

from worker.environment.key_file import KeyFileError, key_in, others_may_read
from worker.environment.names import SettingsError, reason, warn_once


def api_key(key: SecretStr | None, file: Path | None) -> SecretStr:
    """Return the key.

    Args:
        key: The value of MAILGUN_API_KEY; None if it is not set.
        file: MAILGUN_API_KEY_FILE; None if it is not set.

    Raises:
        SettingsError: Neither is set, the file cannot be read or trusted, or it holds no key.
    """
    if key:
        return _usable(key.get_secret_value(), "MAILGUN_API_KEY")
    if not file:
        raise SettingsError(
            "MAILGUN_API_KEY is not set; put your Mailgun private key there "
            "(or its file in MAILGUN_API_KEY_FILE)"
        )
    try:
        text = key_in(file)
    except KeyFileError as error:
        raise SettingsError(f"MAILGUN_API_KEY_FILE {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"MAILGUN_API_KEY_FILE cannot be read: {reason(error)}") from None
    if others_may_read(file):
        warn_once(
            "MAILGUN_API_KEY_FILE can be read by every user of this machine; run chmod o-r on it"
        )
    return _usable(text, "MAILGUN_API_KEY_FILE")


def _usable(text: str, where: str) -> SecretStr:
    """Return the API key in `text`, without surrounding white space.

    Raises:
        SettingsError: The text is empty or holds no key. The error names the setting `where`, and
            does not quote the text.
    """
    key = text.strip()
    if not key:
        raise SettingsError(f"{where} is empty; put your Mailgun private key there")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SettingsError(f"{where} holds no key: it has a character that no key has")
    return SecretStr(key)
