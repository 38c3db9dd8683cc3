"""TabM against the formulas of its paper, member by member."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ml.errors import Invalid
from ml.models import EncodedRows, TabM, TabMSpec
from ml.models.tabm import OwnLinear, SharedLinear
from ml.signature import Classes, Encoding, Features, Signature, Value
from ml.specs import TrainingSpec

RANDOM = torch.Generator().manual_seed(0)
SMALL = TabMSpec(members=3, hidden=[8, 6], bins=4, embedding=2, dropout=0.0)
NUMBERS = Features(names=["a", "b"])
MIXED = Features(
    names=["a", "c", "b"],
    encoding=Encoding(categories={"c": ["x", "y", "z"]}, gaps=["a"], width=6),
)


def network(spec: TabMSpec = SMALL, classes: int = 0, inputs: Features = NUMBERS) -> TabM:
    output = Classes(names=[str(n) for n in range(classes)]) if classes else Value(name="y")
    torch.manual_seed(0)
    built = spec.build(Signature(inputs=inputs, output=output))
    rows = torch.randn(200, inputs.width, generator=torch.Generator().manual_seed(1))
    built.fit_to(EncodedRows(rows, torch.zeros(200, 1)), None)
    return built


def test_shared_layer_is_that_of_batch_ensemble() -> None:
    layer = SharedLinear(3, 4, 5)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(7, 3, 4, generator=RANDOM)
    outputs = layer(inputs)
    for member in range(3):
        own = layer.weight * layer.outward[member, :, None] * layer.inward[member]
        expected = inputs[:, member] @ own.T + layer.bias[member]
        assert torch.allclose(outputs[:, member], expected, atol=1e-5)


def test_last_layer_is_each_members_own() -> None:
    layer = OwnLinear(3, 4, 2)
    inputs = torch.randn(7, 3, 4, generator=RANDOM)
    for member in range(3):
        expected = inputs[:, member] @ layer.weight[member] + layer.bias[member]
        assert torch.allclose(layer(inputs)[:, member], expected, atol=1e-6)


def test_evaluation_is_the_mean_of_the_values() -> None:
    net, inputs = network(), torch.randn(600, 2, generator=RANDOM)
    members = net.train()(inputs)
    assert members.shape == (600, 3, 1)
    assert torch.allclose(net.eval()(inputs), members.mean(1), atol=1e-6)
    assert (members[:, 0] - members[:, 1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("changed", "widest"), [({"hidden": [50]}, 150), ({"bins": 80}, 160), ({"embedding": 90}, 180)]
)
def test_fewer_rows_of_a_wide_network_are_in_memory_together(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], widest: int
) -> None:
    monkeypatch.setattr("ml.models.tabm.NUMBERS_AT_ONCE", 1000)
    net, inputs = network(SMALL.model_copy(update=changed)), torch.randn(20, 2, generator=RANDOM)
    rows: list[int] = []
    net.head.register_forward_hook(lambda *given: rows.append(len(given[-1])))
    outputs = net.eval()(inputs)
    assert sum(rows) == 20
    assert max(rows) == 1000 // widest
    assert torch.allclose(outputs, net.train()(inputs).mean(1), atol=1e-6)


def test_evaluation_is_the_mean_of_the_probabilities() -> None:
    net, inputs = network(classes=4), torch.randn(600, 2, generator=RANDOM)
    members = net.train()(inputs)
    assert members.shape == (600, 3, 4)
    expected = members.softmax(2).mean(1)
    assert torch.allclose(net.eval()(inputs).exp(), expected, atol=1e-6)


def test_categories_and_gaps_pass_the_embedding() -> None:
    net = network(inputs=MIXED)
    first = net.layers[0]
    assert isinstance(first, SharedLinear)
    assert first.weight.shape == (8, 2 * 2 + 3 + 1)
    # The columns of one feature share what tells the members apart.
    assert (first.inward[:, 4:7] == first.inward[:, 4:5]).all()
    assert (first.inward[0] != first.inward[1]).all()


def test_state_is_complete() -> None:
    trained, inputs = network(inputs=MIXED).eval(), torch.randn(9, 6, generator=RANDOM)
    other = SMALL.build(Signature(inputs=MIXED, output=Value(name="y"))).eval()
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other(inputs), trained(inputs))


def test_dropout_is_in_the_training_only() -> None:
    net = network(SMALL.model_copy(update={"dropout": 0.5}))
    inputs = torch.randn(9, 2, generator=RANDOM)
    assert not torch.equal(net.train()(inputs), net(inputs))
    assert torch.equal(net.eval()(inputs), net(inputs))


def test_images_are_refused() -> None:
    signature = TrainingSpec.of({"dataset": {"kind": "mnist"}}).dataset.signature()
    with pytest.raises(Invalid, match="has images; choose mlp or cnn") as error:
        SMALL.build(signature)
    assert error.value.loc == ("kind",)


def test_every_member_learns_from_every_row() -> None:
    net = network()
    inputs, targets = torch.randn(40, 2, generator=RANDOM), torch.randn(40, 1, generator=RANDOM)

    def gradient(loss: Tensor) -> Tensor:
        net.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert net.head.weight.grad is not None
        return net.head.weight.grad.clone()

    outputs = net.train()(inputs)
    together = gradient((outputs - targets.unsqueeze(1)).square().mean())
    for member in range(3):
        own = gradient((net(inputs)[:, member] - targets).square().mean())
        assert torch.allclose(together[member], own[member] / 3, atol=1e-6)
