"""A job whose two models are at servers of their own: keys, fields and roles arrive where they belong."""

from __future__ import annotations

import pytest

from mipro_walk.errors import ConfigError
from tests.backend.conftest import scripted_answer, wait_for
from tests.fakes.openai_server import ScriptedOpenAI

META_KEY = "meta-key-0123456789abcdef0123456789"


def test_each_model_is_asked_at_its_own_address_with_its_own_key_and_fields(stage):
    with ScriptedOpenAI(answer=scripted_answer, key=META_KEY) as strong:
        document = stage.document(num_iterations=3, num_bootstrap_seeds=1)
        section = document["prompt_learning"]
        for key in ("meta_model", "meta_model_provider"):
            section["mipro"].pop(key)
        section["policy"] = {
            "provider": "custom",
            "model": "cheap",
            "base_url": stage.model.base_url,
            "api_key_env": "CHEAP_API_KEY",
            "extra_body": {"top_p": 0.9},
            "output_mode": "structured",
            "input_price_per_million": 1.0,
            "output_price_per_million": 1.0,
        }
        section["meta"] = {
            "provider": "custom",
            "model": "strong",
            "base_url": strong.base_url,
            "api_key_env": "STRONG_API_KEY",
            "reasoning_effort": "high",
            "extra_headers": {"X-Title": "walk"},
        }
        client = stage.start_backend(CHEAP_API_KEY=stage.model.key, STRONG_API_KEY=META_KEY)
        job_id = client.submit(document)
        wait_for(client, job_id, "succeeded")
        results = client.results(job_id)
    assert {body["model"] for body in stage.model.bodies} == {"cheap"}
    assert all(body["top_p"] == 0.9 for body in stage.model.bodies)
    assert {body["model"] for body in strong.bodies} == {"strong"}
    assert all(body["reasoning_effort"] == "high" for body in strong.bodies)
    assert {request.headers.get("x-title") for request in strong.requests} == {"walk"}
    assert all(request.authorized for request in [*strong.requests, *stage.model.requests])
    usage = results["job_metadata.json"]["usage"]
    assert usage["policy"]["cost_usd"] > 0
    assert usage["meta"]["cost_usd"] is None
    assert results["best_prompt.json"]["model"]["extra_body"] == {"top_p": 0.9}


def test_a_backend_refuses_a_host_that_nobody_confirmed(stage):
    client = stage.start_backend(MIPRO_WALK_API_KEY="k" * 32)
    document = stage.document()
    document["prompt_learning"]["policy"] = {
        "provider": "custom",
        "model": "m",
        "base_url": "https://models.example/v1",
    }
    with pytest.raises(ConfigError) as refused:
        client.submit(document)
    assert "models trust" in f"{refused.value.message} {refused.value.problems}"
