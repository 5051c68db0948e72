"""Read a large JSON object member by member: only the member at hand is in memory, not the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_READ = 2**16
_BLANK = " \t\r\n"
#: A number or word that the end of the buffer cuts is reported at most so many characters before that end.
_NEAR_THE_END = 20


def members(file: Path) -> Iterator[tuple[str, str | int | None, Any]]:
    """The members of an object two levels deep, in the file's order.

    Yields:
        ``(key, inner, value)``: ``inner`` is the key or the position inside the container at ``key``, and None where
        the value at ``key`` is no container, or an empty one.

    Raises:
        ValueError: not JSON, not an object, nested too deeply, or followed by something else.
    """
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        text = _Text(stream)
        if text.peek() != "{":
            raise ValueError("it is no JSON object")
        for key in _entries(text):
            mark, n_inner = text.peek(), 0
            if mark in ("{", "["):
                for inner in _entries(text):
                    n_inner += 1
                    yield str(key), inner, text.value()
                if not n_inner:
                    yield str(key), None, {} if mark == "{" else []
            else:
                yield str(key), None, text.value()
        if text.peek():
            raise ValueError(f"there is something behind the object's end: {text.peek()!r}")


def _entries(text: _Text) -> Iterator[str | int]:
    """Stand before every value of the container that begins here; yields its key, or its position in an array."""
    opening = text.take()
    closing = "}" if opening == "{" else "]"
    position = 0
    if text.peek() == closing:
        text.take()
        return
    while True:
        key: Any = position
        if opening == "{":
            key = text.value() if text.peek() == '"' else None
            if key is None or text.take() != ":":
                raise ValueError("a name in quotes and a colon are expected in an object")
        yield key
        position += 1
        mark = text.take()
        if mark == closing:
            return
        if mark != ",":
            found = repr(mark) if mark else "the end of the file"
            raise ValueError(f"',' or '{closing}' is expected, not {found}")


class _Text:
    """The text from the present place on, read when it is needed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._text = ""
        self._place = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in _BLANK:
                self._place += 1
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def take(self) -> str:
        found = self.peek()
        self._place += len(found)
        return found

    def value(self) -> Any:
        """The value that begins at the next character."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _NEAR_THE_END
                if not cut or not self._more():
                    raise
                continue
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            # A number that ends with the buffer may go on behind it, and one before "." or "e+" does.
            if end < len(self._text) - 3 or not self._more():
                self._place = end
                return found

    def _more(self) -> bool:
        """Read on, so much that a long value is tried a few times only; False at the end."""
        rest = self._text[self._place :]
        read = self._stream.read(max(_READ, len(rest)))
        if read:
            self._text, self._place = rest + read, 0
        return bool(read)
