"""Size and readability of a prompt."""

from __future__ import annotations

import pytest

from mipro_walk.comparison.readability import figures_of
from mipro_walk.types import Candidate, Demonstration


def test_counts_and_lix_of_a_known_text():
    # 10 words in 2 sentences, of which 3 ("classify", "customer", "message") have more than six letters.
    found = figures_of(Candidate("Read and classify the customer message. Answer with one word."))
    assert (found.words, found.sentences, found.words_per_sentence) == (10, 2, 5.0)
    assert found.lix == pytest.approx(5.0 + 100 * 3 / 10)


def test_lines_and_lists_end_sentences():
    assert figures_of(Candidate("Rules:\n- be short\n- be exact\n\nAnswer now")).sentences == 4


def test_the_whole_prompt_counts_demonstrations_the_instruction_does_not():
    bare = figures_of(Candidate("Sort it."))
    shown = figures_of(Candidate("Sort it.", (Demonstration("Where is my card?", "card"),)))
    assert (bare.characters, bare.demonstrations) == (8, 0)
    assert shown.characters > bare.characters + len("Where is my card?")
    assert (shown.words, shown.lix, shown.demonstrations) == (bare.words, bare.lix, 1)


@pytest.mark.parametrize("text", ["", "   ", "?!", "\n\n", "日本語"])
def test_texts_without_words_or_sentences_are_no_trouble(text):
    found = figures_of(Candidate(text))
    assert found.lix >= 0
    assert found.words_per_sentence >= 0
