"""A safe expression language for tensors, with gradients, in PyTorch's syntax.

`[[1, 2], [3, 4]] @ x.T`, `x.view(2, -1)[:, 1:].sum()`, `y = x**2`: names, numbers, lists, indices
and the operations in the tables of `ml.expressions.operations`. Shapes are checked before memory is
allocated, and the total cost of a request is bounded.
"""

from ml.expressions.gradients import Graph, GraphEdge, GraphNode
from ml.expressions.programs import MAX_EXPRESSIONS, MAX_VARIABLES, Result, run

__all__ = ["MAX_EXPRESSIONS", "MAX_VARIABLES", "Graph", "GraphEdge", "GraphNode", "Result", "run"]
