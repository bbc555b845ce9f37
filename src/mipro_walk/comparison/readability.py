"""How long and how readable a prompt is: counts, and one figure of long standing.

Source: LIX, Björnsson 1968, "Läsbarhet": words per sentence plus the percentage of words of more than six letters. It
needs no dictionary of syllables and no particular language. As a guide: below 30 easy, 40 as in newspapers, 50 factual
prose, above 60 hard.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Candidate

CHARS_PER_TOKEN = 4.0
"""The forecast's figure too: a rule of thumb for English, said to be one wherever it is shown."""
LONG_WORD = 7
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:]+(?=\s|$)|\n+")


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """Size and readability of one prompt.

    Attributes:
        characters, tokens: of the whole prompt without the query, demonstrations included; tokens are estimated.
        instruction_characters, words, sentences, words_per_sentence, lix: of the instruction.
        demonstrations: how many are shown.
    """

    characters: int
    tokens: int
    demonstrations: int
    instruction_characters: int
    words: int
    sentences: int
    words_per_sentence: float
    lix: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def figures_of(candidate: Candidate) -> PromptFigures:
    """Return size and readability of a prompt."""
    text = candidate.instruction
    words = _WORD.findall(text)
    sentences = sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))
    long_words = sum(len(word) >= LONG_WORD for word in words)
    characters = sum(len(message["content"]) for message in candidate_messages(candidate, ""))
    per_sentence = len(words) / sentences if sentences else 0.0
    return PromptFigures(
        characters=characters,
        tokens=round(characters / CHARS_PER_TOKEN),
        demonstrations=len(candidate.demos),
        instruction_characters=len(text),
        words=len(words),
        sentences=sentences,
        words_per_sentence=round(per_sentence, 1),
        lix=round(per_sentence + 100 * long_words / len(words), 1) if words else 0.0,
    )
