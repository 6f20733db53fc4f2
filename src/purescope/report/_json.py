"""JSON that may stand in a script element of a page: whatever the names are, they stay data."""

import base64
import gzip
import json
import math
from typing import Any

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> str:
    r"""The value as JSON without a character that ends a script; NaN and infinite numbers are null.

    Examples:
        >>> script_json({"</script>": float("nan")})
        '{"\\u003c/script\\u003e":null}'
    """
    text = _dumped(value)
    for character, escaped in _ESCAPED.items():
        text = text.replace(character, escaped)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def packed_json(value: Any) -> str:
    """The value as JSON, compressed and in base64, for what is large and read by a script alone.

    Examples:
        >>> import base64, gzip
        >>> gzip.decompress(base64.b64decode(packed_json([1.5])))
        b'[1.5]'
    """
    text = _dumped(value).encode("utf-8", "surrogatepass")
    return base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode()


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # there are some that JSON has no word for
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
