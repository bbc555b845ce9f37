"""One prompt, the rows of a project's folder, and the small model on this machine.

mipro-walk init --sample classification --folder helpdesk
python examples/one_prompt.py helpdesk
"""

import sys

from mipro_walk import LocalModel, OptimizerSettings, load_project, optimize, summary

task, score = load_project(sys.argv[1])
settings = OptimizerSettings(num_iterations=6, budget=70, num_demos=3, ablation_size=0)
with LocalModel() as model:
    result = optimize(task, model.choosing(task.labels), settings=settings, score=score)
print(summary(result))
