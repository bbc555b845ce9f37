"""Request bodies. Unknown keys are tolerated: other clients send more than this app reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "developer", "user", "assistant"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TemplateMessage(_Body):
    """One message; the text may stand under any of three names, `order` sorts when given."""

    role: Role
    content: str | None = None
    pattern: str | None = None
    template: str | None = None
    order: int | None = None

    def text(self) -> str:
        """Return the message text, "" when none was given."""
        return next((text for text in (self.content, self.pattern, self.template) if text is not None), "")


class PromptTemplate(_Body):
    """A prompt in place of the app's own; `sections` is the older name for `messages`."""

    messages: list[TemplateMessage] | None = None
    sections: list[TemplateMessage] | None = None
    prompt_sections: list[TemplateMessage] | None = None

    def parts(self) -> list[TemplateMessage]:
        """Return the messages in the order they are to be sent."""
        given = self.messages or self.sections or self.prompt_sections or []
        return sorted(given, key=lambda part: part.order if part.order is not None else 0)


class PolicyConfig(_Body):
    """How the model is asked. `inference_url` and `model` are required, but their absence answers 400.

    `judge_url` reaches the model that judges answers, for tasks that need one.
    """

    inference_url: str | None = Field(default=None, max_length=4096)
    judge_url: str | None = Field(default=None, max_length=4096)
    model: str | None = Field(default=None, max_length=256)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    max_completion_tokens: Annotated[int, Field(ge=1, le=100_000)] = 64
    output_mode: Literal["tool_calls", "structured", "text"] | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    trace_correlation_id: str | None = Field(default=None, max_length=512)
    prompt_template: PromptTemplate | None = None
    messages: list[TemplateMessage] | None = None


class Policy(_Body):
    """The policy under test."""

    policy_id: str | None = None
    policy_name: str | None = None
    config: PolicyConfig = Field(default_factory=PolicyConfig)
    output_mode: Literal["tool_calls", "structured", "text"] | None = None


class EnvConfig(_Body):
    """Which pool the seed points into."""

    split: str | None = None
    pool: str | None = None
    num_intents: int | None = None


class Env(_Body):
    """One example: `seed` is the row number in the pool's fixed order."""

    env_id: str | None = None
    env_name: str | None = None
    config: EnvConfig = Field(default_factory=EnvConfig)
    seed: Annotated[int, Field(strict=True, ge=0)]


class Safety(_Body):
    """Limits asked for by the client."""

    max_time_s: Annotated[float, Field(gt=0)] | None = None


class RolloutRequest(_Body):
    """`POST /rollout`."""

    run_id: Annotated[str, Field(min_length=1, max_length=512)]
    env: Env
    policy: Policy = Field(default_factory=Policy)
    ops: list[Any] | None = None
    mode: str | None = None
    safety: Safety | None = None
    trace_correlation_id: str | None = Field(default=None, max_length=512)
