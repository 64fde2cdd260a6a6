"""Decompress message bodies as Celery compresses them, with a limit on the decompressed size."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any


def _module(*names: str) -> Any:
    """Return the first of these modules that this Python has, or None.

    Without the module, a body compressed so becomes a dead letter that names the compression.
    """
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    return None


bz2, lzma = _module("bz2"), _module("lzma")
zstd = _module("compression.zstd", "backports.zstd")  # in Python's library from 3.14

LIMIT_BYTES = 32 * 1024 * 1024
LZMA_MEMORY_BYTES = 80 * 1024 * 1024  # what the highest preset needs
ZSTD_WINDOW_LOG = 25  # 32 MiB
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32

# Names in the header `compression`: kombu.compression's own, and aliases that other clients write.
ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "application/gzip": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "xz": "application/x-lzma",
    "lzma": "application/x-lzma",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}

# The first bytes of compressed data. No JSON text begins with them.
BEGINNINGS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}

DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "application/x-gzip": lambda: zlib.decompressobj(ZLIB_OR_GZIP)
}
ERRORS: tuple[type[Exception], ...] = (zlib.error, OSError, EOFError)
if bz2:
    DECOMPRESSORS["application/x-bz2"] = bz2.BZ2Decompressor
if lzma:
    DECOMPRESSORS["application/x-lzma"] = lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY_BYTES)
    ERRORS += (lzma.LZMAError,)
if zstd:
    WINDOW = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    DECOMPRESSORS["application/zstd"] = lambda: zstd.ZstdDecompressor(options=WINDOW)
    ERRORS += (zstd.ZstdError,)


def compression_of(data: bytes) -> str | None:
    """Return the name of the compression of `data`, or None if it is not compressed."""
    for beginning, name in BEGINNINGS.items():
        if data.startswith(beginning):
            return name
    return None


def decompressed(data: bytes, name: str, limit: int = LIMIT_BYTES) -> bytes:
    """Return `data` decompressed.

    Args:
        data: The compressed bytes.
        name: The compression, as a header names it.
        limit: The most bytes that the result may have.

    Raises:
        LookupError: The compression is not known.
        OverflowError: The result has more than `limit` bytes.
        ValueError: `data` is not compressed so, or is cut off.
    """
    name = name.strip().lower()
    decompressor = DECOMPRESSORS[ALIASES.get(name, name)]
    result = b""
    while data or not result:
        part, data = _first_member(data, decompressor(), limit + 1 - len(result))
        result += part
        if len(result) > limit:
            raise OverflowError(f"more than {limit} bytes")
        if not data.strip(b"\0"):  # padding
            break
    return result


def _first_member(data: bytes, decompressor: Any, limit: int) -> tuple[bytes, bytes]:
    """Decompress the first member of `data`, which may hold several, one after the other.

    Returns:
        The decompressed member, cut at `limit` bytes, and the rest of `data`.

    Raises:
        ValueError: `data` is not compressed so, or is cut off.
    """
    try:
        part: bytes = decompressor.decompress(data, limit)
    except ERRORS:
        raise ValueError("not compressed so") from None
    if len(part) < limit and not decompressor.eof:
        raise ValueError("cut off")
    return part, decompressor.unused_data
