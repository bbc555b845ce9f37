"""The form of OpenAI's chat API: requests turned into what the engine is asked, its answers and errors turned back."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mipro_walk.local_model import enum_answers

# Without a limit a small model may babble until its context is full, a minute and more.
DEFAULT_MAX_TOKENS = 512

Body = dict[str, Any]


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _FunctionCall(BaseModel):
    name: str
    arguments: str


class _ToolCall(BaseModel):
    id: str | None = None
    type: Literal["function"] = "function"
    function: _FunctionCall


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _FunctionName(BaseModel):
    name: str


class _NamedTool(BaseModel):
    type: Literal["function"]
    function: _FunctionName


class _JsonSchema(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    # Not `schema`: that name is taken by pydantic's BaseModel.
    value: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


_Number = Annotated[float, Field(allow_inf_nan=False)]


class _ChatRequest(BaseModel):
    """What is understood of a chat request. Unknown keys (``user``, ``store``, …) change nothing here."""

    messages: list[_Message] = Field(min_length=1)
    temperature: Annotated[_Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[_Number, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[_Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[_Number, Field(ge=-2, le=2)] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    grammar: str | None = None
    response_format: _ResponseFormat | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    n: int | None = None
    stream: bool | None = None
    logprobs: bool | None = None
    functions: list[Any] | None = None


class ApiError(Exception):
    """An answer in OpenAI's error shape; ``status`` is its HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def read_request(raw: bytes) -> Body:
    """Turn the body into what the engine is asked, or refuse it.

    Raises:
        ApiError: 400, naming the field at fault.
    """
    try:
        request = _ChatRequest.model_validate_json(raw)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(step) for step in problem["loc"]) or None
        where = f"{param}: " if param else ""
        raise ApiError(400, f"{where}{problem['msg']}", param=param) from exc
    _refuse_unsupported(request)
    return _engine_request(request)


def _refuse_unsupported(request: _ChatRequest) -> None:
    """Refuse what would silently change the meaning of the answer if it were ignored."""
    wanted_format = request.response_format
    refusals = {
        "stream": (request.stream, "Streaming is not supported by the local model; send stream=false."),
        "n": (request.n not in (None, 1), "Only n=1 is supported by the local model."),
        "logprobs": (request.logprobs, "logprobs are not supported by the local model."),
        "functions": (request.functions, "`functions` is not supported; use `tools`."),
        "grammar": (
            request.grammar and (request.tools or (wanted_format and wanted_format.type != "text")),
            "`grammar` cannot be combined with `tools` or `response_format`.",
        ),
        "response_format.json_schema": (
            wanted_format and wanted_format.type == "json_schema" and not wanted_format.json_schema,
            "response_format of type json_schema needs json_schema.schema.",
        ),
        "tool_choice": (
            isinstance(request.tool_choice, _NamedTool)
            and request.tool_choice.function.name not in [t.function.name for t in request.tools or []],
            "tool_choice names a function that is not among the tools.",
        ),
    }
    for param, (refused, message) in refusals.items():
        if refused:
            raise ApiError(400, message, param=param, code="unsupported_value")


def _engine_request(request: _ChatRequest) -> Body:
    dumped = request.model_dump(
        exclude_none=True,
        by_alias=True,
        exclude={"n", "stream", "logprobs", "functions", "max_completion_tokens", "messages"},
    )
    dumped["messages"] = [_engine_message(message) for message in request.messages]
    dumped["max_tokens"] = request.max_completion_tokens or request.max_tokens or DEFAULT_MAX_TOKENS
    if request.seed is not None:
        dumped["seed"] = request.seed % 2**32  # llama.cpp's seeds are 32 bits wide
    if request.tool_choice == "none" or not request.tools:
        dumped.pop("tools", None)
        dumped.pop("tool_choice", None)
    return dumped


def _engine_message(message: _Message) -> Body:
    content = message.content
    if isinstance(content, list):
        content = "\n".join(part.text for part in content)
    # Chat templates of small models know no developer role.
    role = "system" if message.role == "developer" else message.role
    turn = message.model_dump(exclude_none=True, exclude={"content", "role"})
    has_calls = bool(message.tool_calls)
    return {"role": role, "content": content if content is not None or has_calls else "", **turn}


def shape_answer(answer: Body, question: enum_answers.EnumQuestion | None) -> Body:
    """Return the engine's answer in OpenAI's shape and, for an enum question, in the form asked for."""
    choice = answer["choices"][0]
    message = {**choice["message"], "refusal": None}
    finish_reason = choice["finish_reason"]
    if question is not None:
        # None only if the answer was cut off (context full); then it stays text with reason "length".
        wrapped = enum_answers.wrap(question, message["content"] or "", f"call_{secrets.token_hex(12)}")
        if wrapped is not None:
            message, finish_reason = {**wrapped.message, "refusal": None}, wrapped.finish_reason
    return {
        "id": answer.get("id") or f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": answer.get("created") or int(time.time()),
        "model": answer["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": answer["usage"],
    }
