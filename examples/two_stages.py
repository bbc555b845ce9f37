"""A program of two prompts, improved together: the first shortens a message, the second names its topic.

mipro-walk init --sample classification --folder helpdesk
python examples/two_stages.py helpdesk
"""

import sys

from mipro_walk import LocalModel, OptimizerSettings, load_project, optimize, summary

stages = {"shorten": "Say in a few words what the customer wants.", "name": "Name the topic of the message."}
task, score = load_project(sys.argv[1], stages)


def program(stages, message):
    return stages.name(f"{message}\nIn short: {stages.shorten(message)}")


with LocalModel(max_tokens=12) as model:
    choose = model.choosing(task.labels)

    def policy(messages):  # the second stage may answer with a topic only
        return choose(messages) if "\nIn short:" in messages[-1]["content"] else model(messages)

    settings = OptimizerSettings(num_iterations=6, budget=80, num_demos=3, ablation_size=0)
    result = optimize(task, policy, settings=settings, program=program, score=score)
print(summary(result))
