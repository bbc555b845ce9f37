"""A small task that a scripted model solves better with an example."""

from __future__ import annotations

import pytest

from mipro_walk import OptimizerSettings, make_task

SETTINGS = OptimizerSettings(num_iterations=5, budget=80, test_size=40, ablation_size=10)


@pytest.fixture
def task():
    rows = [(f"{colour} thing {i}", colour) for i in range(50) for colour in ("red", "green")]
    return make_task("colours", "Say the colour.", train=rows[:20], val=rows[20:50], test=rows[50:])


def policy(messages):
    """Answer rightly as soon as an example is shown."""
    return messages[-1]["content"].split()[0] if len(messages) > 2 else "unsure"


async def async_policy(messages):
    """Do the same."""
    return policy(messages)
