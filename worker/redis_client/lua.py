"""Loader of the Lua scripts.

Each is a `.lua` file beside the module that runs it, with a head that describes its KEYS and ARGV.
"""

from importlib.resources import files

from worker.redis_client.keys import NEVER

# If Redis's memory is full, a script may go on once it has written. Delivering frees memory.
ALLOW_WHEN_FULL = f"redis.call('DEL', '{NEVER}')\n"


def script(package: str, *names: str) -> str:
    """Return the texts of a package's Lua files, named without `.lua`, one after the other.

    Raises:
        ModuleNotFoundError: There is no such package.
        FileNotFoundError: The package has no such file.
    """
    return "".join(
        files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names
    )
