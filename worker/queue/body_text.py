"""The text of a message's body: decoded from base64, decompressed, of any charset.

An error names what cannot be read.
"""

import base64
import codecs
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from worker.queue.codec import DecodeError
from worker.queue.compression import compression_of, decompressed
from worker.queue.dead_letter_reasons import DeadLetterReason

JSON_TYPES = ("", "application/json", "text/json", "json")
SERIALIZERS = {
    "application/x-python-serialize": "pickle",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/data": "raw",
}
# Encodings of a body's text, as `codecs` names them. Codecs that are no charset are left out.
CHARSETS = re.compile(
    r"ascii|utf-(8|8-sig|16|16-le|16-be|32|32-le|32-be)|iso8859-\d+|cp\d+|koi8-[rtu]|mac-roman"
    r"|shift_jis|euc_\w+|gb\w+|big5"
)
HARMLESS = re.compile(r"[\w./+:-]{1,80}", re.ASCII)


def quoted(name: object) -> str:
    """Return `name`, which a message holds, in quotes if it is short and one word, else its length.

    Other text is not quoted, since it may hold personal data.
    """
    if isinstance(name, str):
        return f"{name!r}" if HARMLESS.fullmatch(name) else f"a text of {len(name)} characters"
    return f"of type {type(name).__name__}"


def body_text(
    body: str,
    outer: Mapping[str, Any],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    limit: int,
) -> str:
    """Return the text of a message's body.

    Args:
        body: The body, as it stands in the message.
        outer: The whole message.
        headers: Its headers.
        properties: Its properties.
        limit: The most bytes that the body may have when decompressed.

    Raises:
        DecodeError: The text cannot be read.
    """
    _check_serializer(outer.get("content-type"))
    encoding = properties.get("body_encoding")
    if encoding not in (None, "", "base64"):
        raise _unsupported(
            f"the body is encoded as {quoted(encoding)}, which is not known; base64 is"
        )
    compression = headers.get("compression")
    if not encoding and not compression and body.lstrip()[:1] in ("[", "{"):
        if not is_unicode(body):
            raise _unsupported("the message is not UTF-8 text")
        return body
    data = _base64(body)
    compression = compression or compression_of(data)
    data = _uncompressed(data, compression, limit) if compression else data
    return _text(data, outer.get("content-encoding"))


def _check_serializer(content_type: object) -> None:
    if content_type in (None, "application/json"):
        return
    name = content_type.partition(";")[0].strip().lower() if isinstance(content_type, str) else None
    if name not in JSON_TYPES:
        serializer = f"{SERIALIZERS[name]}, " if name in SERIALIZERS else ""
        raise _unsupported(
            f"the body is not JSON but {serializer}content type {quoted(content_type)}"
        )


def _base64(body: str) -> bytes:
    with suppress(ValueError):
        return base64.b64decode(body, validate=True)
    compact = "".join(body.split()).translate(str.maketrans("-_", "+/"))  # line breaks; URL-safe
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError:
        raise DecodeError("the body is neither JSON nor base64") from None


def _uncompressed(data: bytes, compression: object, limit: int) -> bytes:
    try:
        return decompressed(data, compression if isinstance(compression, str) else "", limit)
    except LookupError:
        raise _unsupported(
            f"the body is compressed with {quoted(compression)}, which is not known here"
        ) from None
    except OverflowError:
        raise DecodeError(
            f"the body is more than {limit} bytes when decompressed", DeadLetterReason.TOO_LARGE
        ) from None
    except ValueError:
        raise _unsupported(
            f"the body is said to be compressed with {quoted(compression)}, and is not"
        ) from None


def _text(data: bytes, charset: object) -> str:
    name = charset if isinstance(charset, str) else ""
    if name.lower() in ("", "utf-8", "binary", "utf8", "us-ascii", "ascii"):
        if data.isascii() and b"\0" not in data[:2]:
            return data.decode("ascii")
        name = json.detect_encoding(data[:4])
    try:
        if not CHARSETS.fullmatch(codecs.lookup(name).name):
            raise LookupError
        return data.decode(name).removeprefix("\ufeff")
    except (LookupError, ValueError) as error:
        if isinstance(error, UnicodeError):
            raise _unsupported(f"the body is not {name.upper()} text") from None
        raise _unsupported(
            f"the body's content encoding is {quoted(charset)}, which is not known here"
        ) from None


def _unsupported(text: str) -> DecodeError:
    return DecodeError(text, DeadLetterReason.UNSUPPORTED_ENCODING)


def is_unicode(text: str) -> bool:
    """Return False if `text` holds bytes that were not UTF-8, as `text_of` returns them."""
    return text.isascii() or not any("\udc80" <= each <= "\udcff" for each in text)
