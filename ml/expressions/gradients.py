"""The graph that autograd records, and the cost of differentiating through it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import Field
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from ml.expressions.budget import BACKWARD, STEP
from ml.strict import Frozen


class GraphNode(Frozen):
    """An operation of the graph, or a variable at its leaves."""

    id: int
    op: str = Field(
        description="Name in autograd, such as PowBackward0; AccumulateGrad for a variable."
    )
    symbol: str | None = Field(
        description="Symbol of the operation: `**`, `sum()`. Where autograd records several nodes "
        "for one operation, only the last has it."
    )
    text: str | None = Field(description="Source text of the operation, shortened if long.")
    variable: str | None


class GraphEdge(Frozen):
    """Edge from the node of an operand to that of its operation."""

    source: int
    target: int


class Graph(Frozen):
    """Autograd's graph of the operations that led to a result, which is node 0."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


class _Step(NamedTuple):
    symbol: str
    text: str
    work: int


@dataclass(frozen=True)
class GraphRecorder:
    """Records the source text and the work behind each of autograd's nodes."""

    variables: Mapping[str, Tensor]
    _steps: dict[Node, _Step] = field(default_factory=dict)

    def record(self, result: Tensor, symbol: str, text: str, work: int) -> None:
        """Record symbol, source text and work of the operation that made `result`."""
        if result.grad_fn is not None:
            self._steps.setdefault(result.grad_fn, _Step(symbol, text, work))

    def work(self, result: Tensor) -> int:
        """Return the cost of differentiating `result`."""
        steps = [self._steps.get(node) for node in _reachable(result)]
        return BACKWARD * sum(STEP + (step.work if step else 0) for step in steps)

    def graph(self, result: Tensor) -> Graph:
        """Return the graph of `result`, which must require a gradient."""
        ids = {node: i for i, node in enumerate(_reachable(result))}
        edges = [
            GraphEdge(source=ids[operand], target=i)
            for node, i in ids.items()
            for operand in _operands(node)
        ]
        nodes = [self._described(node, i) for node, i in ids.items()]
        return Graph(nodes=nodes, edges=edges)

    def _described(self, node: Node, number: int) -> GraphNode:
        leaf = getattr(node, "variable", None)
        names = (name for name, variable in self.variables.items() if variable is leaf)
        step = self._steps.get(node)
        return GraphNode(
            id=number,
            op=node.name().rpartition("::")[2],
            symbol=step.symbol if step else None,
            text=step.text if step else None,
            variable=next(names, None),
        )


def _reachable(result: Tensor) -> Iterator[Node]:
    """Yield each node of the graph of `result` once, its own first."""
    first = get_gradient_edge(result).node
    seen = {first}
    waiting = [first]
    while waiting:
        node = waiting.pop()
        yield node
        for operand in reversed(_operands(node)):
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)


def _operands(node: Node) -> list[Node]:
    return [operand for operand, _ in node.next_functions if operand is not None]
