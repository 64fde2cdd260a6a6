"""The `.env` file as a source of settings, without those that only the environment may set."""

from typing import Any

from pydantic_settings import DotEnvSettingsSource

# They decide which host receives the key, and a `.env` may lie in a folder from elsewhere.
ENVIRONMENT_ONLY = ("MAILGUN_ALLOW_CUSTOM_HOST",)


class EnvFileSource(DotEnvSettingsSource):
    """The settings in `.env`, without `ENVIRONMENT_ONLY`."""

    def __call__(self) -> dict[str, Any]:
        """Return the values, by the settings' names."""
        return {
            name: value
            for name, value in super().__call__().items()
            if name.upper() not in ENVIRONMENT_ONLY
        }
