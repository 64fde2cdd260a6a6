"""Loads the Lua scripts: each is a `.lua` file beside the module that runs it, with a head that tells its KEYS and ARGV."""

from importlib.resources import files


def script(package: str, *names: str) -> str:
    """Return the texts of the files `names`, each without its `.lua`, in `package`, one after the other.

    Raises `ModuleNotFoundError` if there is no such package, `FileNotFoundError` if it has no such file.
    """
    return "".join(
        files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names
    )
