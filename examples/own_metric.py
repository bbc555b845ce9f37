"""A metric of one's own: stars that are close to the right number count in part.

mipro-walk init --sample rating --folder reviews
python examples/own_metric.py reviews
"""

import sys

from mipro_walk import LocalModel, OptimizerSettings, load_project, metric, optimize, summary


@metric(low=-4, high=0)
def closeness(answer, example):
    return -abs(int(answer) - int(example.label))


task, _ = load_project(sys.argv[1], "How many stars does the review give?")
settings = OptimizerSettings(num_iterations=6, budget=70, num_demos=3, ablation_size=0)
with LocalModel() as model:
    result = optimize(task, model.choosing(["1", "2", "3", "4", "5"]), settings=settings, score=closeness)
print(summary(result))
