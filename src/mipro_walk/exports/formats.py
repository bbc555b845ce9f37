"""The formats there are. Each module of this package makes one kind of file; here they get their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mipro_walk.exports.dspy_state import dspy_state
from mipro_walk.exports.langchain_prompt import langchain_prompt
from mipro_walk.exports.names import FormatName
from mipro_walk.exports.openai_request import openai_request
from mipro_walk.exports.optuna_study import optuna_study
from mipro_walk.exports.promptfoo_config import promptfoo_config
from mipro_walk.exports.python_program import python_program
from mipro_walk.exports.rollout_lines import rollout_lines
from mipro_walk.exports.source import ExportSource
from mipro_walk.exports.texts import markdown, plain_text


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        make: returns the whole file; raises ConfigError for what the job does not have or the format cannot carry.
        what: one line for a person.
        is_prompt: whether it is about one prompt, so that the choice of the prompt counts.
    """

    make: Callable[[ExportSource], str]
    what: str
    is_prompt: bool = True


FORMATS: dict[FormatName, Format] = {
    "openai": Format(openai_request, "the whole chat request as JSON, with a placeholder for the query"),
    "python": Format(python_program, "a program that prints the label of each query"),
    "dspy": Format(dspy_state, "the state of a dspy.Predict program"),
    "langchain": Format(langchain_prompt, "a ChatPromptTemplate in LangChain's own JSON"),
    "promptfoo": Format(promptfoo_config, "a promptfoo configuration with the test rows"),
    "text": Format(plain_text, "the prompt to read"),
    "markdown": Format(markdown, "the prompt with its scores to read"),
    "rollouts": Format(rollout_lines, "every recorded rollout, one JSON object a line", is_prompt=False),
    "optuna": Format(optuna_study, "the search as an Optuna study in a journal file", is_prompt=False),
}
