"""Decompress message bodies as Celery compresses them, without letting a small body fill the memory."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # of Python 3.14 and later, and for those before
        with suppress(ImportError):
            return import_module(name)
    return None  # such a body is a dead letter that says so


zstd = _zstd()

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

DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "application/x-gzip": lambda: zlib.decompressobj(ZLIB_OR_GZIP),
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY_BYTES),
}
if zstd is not None:
    DECOMPRESSORS["application/zstd"] = lambda: zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    )
ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, *((zstd.ZstdError,) if zstd is not None else ()))


def decompressed(data: bytes, name: str, limit: int = LIMIT_BYTES) -> bytes:
    """Return `data`, compressed as `name` says, as it was before.

    Raises `LookupError` for a compression that is not known, `OverflowError` for more than `limit` bytes, and
    `ValueError` for data that is not compressed so.
    """
    name = name.strip().lower()
    decompressor = DECOMPRESSORS[ALIASES.get(name, name)]()
    try:
        result: bytes = decompressor.decompress(data, limit + 1)
    except ERRORS:
        raise ValueError("not compressed so") from None
    if len(result) > limit:
        raise OverflowError(f"more than {limit} bytes")
    if not decompressor.eof:
        raise ValueError("cut off")
    return result
