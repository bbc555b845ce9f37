"""What can be chosen. Light to import: the command line needs the names without what makes the files."""

from __future__ import annotations

from typing import Literal

FormatName = Literal["openai", "python", "dspy", "langchain", "promptfoo", "text", "markdown", "rollouts", "optuna"]
PromptChoice = Literal["recommended", "winner", "baseline"]
