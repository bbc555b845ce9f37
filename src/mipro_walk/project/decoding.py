"""From a file's bytes to text: which encoding it is, and where it breaks.

A marked encoding is obeyed, UTF-8 is tried next. What is neither is read as Windows-1252 only if that is plausible for
the whole file, and it is said; a file that mixes encodings is refused, since every guess would spoil some rows.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.rows import Finding, did_you_mean

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KNOWN = ("utf-8", "utf-16", "cp1252", "latin-1", "utf-32", "shift_jis", "gb18030", "big5", "euc_kr", "koi8_r", "cp1251")
FOREIGN_SHARE = 0.2
"""A text in a Western language has fewer letters with accents than this; more point to another alphabet."""
SAVE_AS_UTF8 = "Save the file again as UTF-8, or name its encoding with --encoding, such as --encoding cp1252."
NAMED_LINES = 5


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text, and the name of the encoding that reads it again (``utf-8-sig`` with a mark)."""

    text: str
    encoding: str
    findings: tuple[Finding, ...] = ()


def decode(data: bytes, name: str, encoding: str | None = None) -> Decoded:
    """Return the text of ``data``.

    Args:
        name: the file's name, for messages.
        encoding: what the person says it is; ``None`` finds out.

    Raises:
        ConfigError: an unknown encoding, bytes that it cannot hold (the message names lines), mixed encodings.
    """
    marked = next((codec for mark, codec in MARKS if data.startswith(mark)), None)
    if encoding is not None:
        decoded = _as_told(data, name, encoding, marked)
    elif marked is not None:
        decoded = Decoded(_strictly(data, name, marked), marked, (_mark_note(marked),))
    else:
        decoded = _found_out(data, name)
    _refuse_nul(decoded.text, name)
    return decoded


def _as_told(data: bytes, name: str, encoding: str, marked: str | None) -> Decoded:
    try:
        codec = codecs.lookup(encoding).name
        b"".decode(codec)
    except (LookupError, ValueError, TypeError):
        hint = did_you_mean(encoding, KNOWN)
        raise ConfigError(f"Unknown encoding {encoding[:40]!r}.{hint}", f"Known are {', '.join(KNOWN)} …") from None
    if codec == "utf-8" and marked == "utf-8-sig":
        codec = marked
    return Decoded(_strictly(data, name, codec), codec)


def _found_out(data: bytes, name: str) -> Decoded:
    if b"\x00" in data and (wide := _unmarked_utf16(data)):
        note = Finding(
            "encoding", "note", f"No byte order mark; read as {wide}, as every second byte is 0.", "repaired"
        )
        return Decoded(_strictly(data, name, wide), wide, (note,))
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _as_western(data, name)


def _as_western(data: bytes, name: str) -> Decoded:
    bad, good = _lines_by_kind(data)
    where = _lines(bad)
    if good:
        raise ConfigError(
            f"{name} mixes encodings: {where} not UTF-8, {_lines(good)} UTF-8.",
            "Save these lines again as UTF-8. With --encoding cp1252 the file is read, but accents in the "
            f"{counted(len(good), 'UTF-8 line')} come out wrong.",
        )
    high = sum(byte >= 0x80 for byte in data)
    letters = sum(byte > 0x40 for byte in data)
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or high > FOREIGN_SHARE * letters:
        raise ConfigError(f"{name} is not UTF-8 ({where}), and what it is cannot be told.", SAVE_AS_UTF8)
    example = data.split(b"\n")[bad[0] - 1].decode("cp1252").strip()
    start = max(0, next(i for i, char in enumerate(example) if ord(char) > 0x7F) - 15)
    said = f"Not UTF-8 ({where}); read as Windows-1252, such as {example[start : start + 30]!r}."
    fix = "If that reads wrong, pass --encoding with the right one."
    return Decoded(text, "cp1252", (Finding("encoding", "warning", said, "repaired", fix=fix),))


def _lines_by_kind(data: bytes) -> tuple[list[int], list[int]]:
    """Return the numbers of lines that are not UTF-8, and of lines with real UTF-8 beyond ASCII in them."""
    bad, good = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            bad.append(number)
        else:
            good.append(number)
    return bad, good


def _lines(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]} is"
    named = ", ".join(map(str, numbers[:NAMED_LINES]))
    return f"lines {named}{', …' if len(numbers) > NAMED_LINES else ''} ({len(numbers):,}) are"


def _unmarked_utf16(data: bytes) -> str | None:
    head = data[:4000]
    half = len(head) // 2
    if half and head[1::2].count(0) > 0.4 * half and head[0::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if half and head[0::2].count(0) > 0.4 * half and head[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return None


def _strictly(data: bytes, name: str, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as exc:
        line = data[: exc.start].decode(codec, "replace").count("\n") + 1
        raise ConfigError(
            f"{name}, line {line}: byte 0x{data[exc.start]:02x} is not {codec.removesuffix('-sig')}.", SAVE_AS_UTF8
        ) from None
    except ValueError as exc:  # codecs that are no plain character sets have errors of their own
        raise ConfigError(f"{name} cannot be read as {codec}: {str(exc)[:100]}.", SAVE_AS_UTF8) from None


def _refuse_nul(text: str, name: str) -> None:
    if (place := text.find("\x00")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise ConfigError(
            f"{name}, line {line}: a NUL byte. The file is damaged, binary, or in another encoding.",
            "Save the file again as UTF-8; for UTF-16 without a mark pass --encoding utf-16.",
        )


def _mark_note(codec: str) -> Finding:
    kind = codec.removesuffix("-sig").upper()
    return Finding(
        "byte-order-mark", "note", f"Starts with a {kind} byte order mark; it is not part of the text.", "repaired"
    )
