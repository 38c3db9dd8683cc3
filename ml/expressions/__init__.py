"""The language of tensors: PyTorch's first lessons, computed and differentiated, and nothing else.

`[[1, 2], [3, 4]] @ x.T`, `x.view(2, -1)[:, 1:].sum()`, `y = x**2`: names, numbers, lists, indices
and the operations in the tables of `ml.expressions.operations`. Sizes are known before memory is
taken for them, and what all expressions of a request cost together has an end.
"""

from ml.expressions.gradients import Graph, GraphEdge, GraphNode
from ml.expressions.programs import MAX_EXPRESSIONS, MAX_VARIABLES, Result, run

__all__ = ["MAX_EXPRESSIONS", "MAX_VARIABLES", "Graph", "GraphEdge", "GraphNode", "Result", "run"]
