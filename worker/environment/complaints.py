"""What pydantic finds wrong with the settings, as texts that begin with the setting's name."""

from pydantic import ValidationError


def complaints(error: ValidationError) -> list[str]:
    """Return a text for each setting that is wrong by itself."""
    return [
        _complaint(str(e["loc"][0]).upper() if e["loc"] else "", e["msg"])
        for e in error.errors()
        if e["type"] != "default_factory_not_called"  # it only follows from another one
    ]


def _complaint(name: str, message: str) -> str:
    message = message.removeprefix("Value error, ")
    if not name:
        return message
    return f"{name} {message}" if message.startswith("is ") else f"{name}: {message}"
