"""Before training: describe a training in a small file, probe it for two minutes, and see which tasks will fight.

from workbench.forecast import load_problem

problem = load_problem("my_training.py")
"""

from workbench.forecast.loading import load_model, load_problem
from workbench.forecast.problem import Problem

__all__ = ["Problem", "load_model", "load_problem"]
