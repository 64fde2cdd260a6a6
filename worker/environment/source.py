"""What of a `.env` file counts: all settings but those that only the environment may decide."""

from typing import Any

from pydantic_settings import DotEnvSettingsSource

# Where the key goes. A `.env` may lie in a folder that came from elsewhere.
ENVIRONMENT_ONLY = ("MAILGUN_ALLOW_CUSTOM_HOST",)


class EnvFileSource(DotEnvSettingsSource):
    """The settings in `.env`."""

    def __call__(self) -> dict[str, Any]:
        """Return the values by the settings' names."""
        return {
            name: value
            for name, value in super().__call__().items()
            if name.upper() not in ENVIRONMENT_ONLY
        }
