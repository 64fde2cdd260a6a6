"""Decompress message bodies as Celery compresses them, without letting a small body fill the memory."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any


def _module(*names: str) -> Any:
    """Return the first of these modules that this Python has, or None: then such a body is a dead letter that names it."""
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    return None


bz2, lzma = _module("bz2"), _module("lzma")
zstd = _module("compression.zstd", "backports.zstd")  # Python has it from 3.14 on

LIMIT_BYTES = 32 * 1024 * 1024
LZMA_MEMORY_BYTES = 80 * 1024 * 1024  # what the highest preset needs
ZSTD_WINDOW_LOG = 25  # 32 MiB
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32

# Names as kombu.compression has them: what a header says, and the aliases that other clients write there.
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

# How compressed data begins; JSON begins otherwise.
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
    """Return the name of what `data` is compressed with, None where it is not."""
    return next(
        (name for beginning, name in BEGINNINGS.items() if data.startswith(beginning)), None
    )


def decompressed(data: bytes, name: str, limit: int = LIMIT_BYTES) -> bytes:
    """Return `data`, compressed as `name` says, as it was before.

    Raises `LookupError` for a compression that is not known, `OverflowError` for more than `limit` bytes, and
    `ValueError` for data that is not compressed so.
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
    """Return what comes first in `data`, which may be several compressed pieces one after the other, and the rest."""
    try:
        part: bytes = decompressor.decompress(data, limit)
    except ERRORS:
        raise ValueError("not compressed so") from None
    if len(part) < limit and not decompressor.eof:
        raise ValueError("cut off")
    return part, decompressor.unused_data
