"""The graph of operations that autograd records, and what going back through it costs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import Field
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from ml.expressions.budget import BACKWARD, STEP
from ml.strict import Frozen


class GraphNode(Frozen):
    """One operation, or a variable where the graph begins."""

    id: int
    op: str = Field(description="Autograd's name: PowBackward0; AccumulateGrad for a variable.")
    symbol: str | None = Field(
        description="How the operation is written: `**`, `sum()`. Of one that autograd takes in "
        "several steps the last has it."
    )
    text: str | None = Field(description="The part of the expression; of a long one, its start.")
    variable: str | None


class GraphEdge(Frozen):
    """From an operand's node to that of the operation which takes it."""

    source: int
    target: int


class Graph(Frozen):
    """The operations that led to a result, as autograd records them. The result is the node 0."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


class _Step(NamedTuple):
    symbol: str
    text: str
    work: int


@dataclass(frozen=True)
class GraphRecorder:
    """What is known of autograd's nodes beyond what autograd knows."""

    variables: Mapping[str, Tensor]
    _steps: dict[Node, _Step] = field(default_factory=dict)

    def record(self, result: Tensor, symbol: str, text: str, work: int) -> None:
        """Remember the part of the source, and its work, that made `result`."""
        if result.grad_fn is not None:
            self._steps.setdefault(result.grad_fn, _Step(symbol, text, work))

    def work(self, result: Tensor) -> int:
        """Return what it costs to differentiate `result`."""
        steps = [self._steps.get(node) for node in _reachable(result)]
        return BACKWARD * sum(STEP + (step.work if step else 0) for step in steps)

    def graph(self, result: Tensor) -> Graph:
        """Return the graph that led to `result`, which requires a gradient."""
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
    """Yield the nodes that led to `result`, its own first, each once."""
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
