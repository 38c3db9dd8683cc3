"""Training loops of the MNIST network (784-512-256-10, dropout, Adam), and a lower bound."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, transforms

from ml.datasets import Dataset as Data
from ml.datasets import Rows
from ml.preprocessing import Standardize
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
BATCH = 64
MEAN, STD = 0.1307, 0.3081
SHAPES = ((784, 512), (512, 256), (256, 10))
DOCUMENT: dict[str, Any] = {"dataset": {"kind": "mnist"}, "epochs": 1, "report_every": 100}
UNROLLED = 8
"""Steps per CUDA graph of the lower bound."""

os.environ.setdefault(
    "XLA_FLAGS",
    f"--xla_cpu_multi_thread_eigen={str(THREADS > 1).lower()} "
    f"intra_op_parallelism_threads={THREADS}",
)
# JAX would preallocate three quarters of a GPU's memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("KERAS_BACKEND", "torch")

Contender = Callable[[], object]
"""Function that trains one epoch."""


class LeftOut(Exception):
    """The contender is installed but cannot use the device."""


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


class Digits(datasets.MNIST):
    """torchvision's MNIST data set with given images instead of files."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.held = images, labels
        normalise = transforms.Normalize((MEAN,), (STD,))
        super().__init__(root="", transform=transforms.Compose([transforms.ToTensor(), normalise]))

    def _check_exists(self) -> bool:
        return True

    def _load_data(self) -> tuple[Tensor, Tensor]:
        return self.held


def tutorial(
    images: Tensor, labels: Tensor, device: torch.device, batch_size: int = BATCH
) -> Contender:
    model = network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_of = nn.CrossEntropyLoss()
    data = Digits(images, labels)

    def epoch() -> float:
        model.train()
        running = 0.0
        for batch, target in DataLoader(data, batch_size=batch_size, shuffle=True):
            batch, target = batch.to(device), target.to(device)
            optimizer.zero_grad()
            loss = loss_of(model(batch), target)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return running

    return epoch


def plain(
    images: Tensor, labels: Tensor, device: torch.device, batch_size: int = BATCH
) -> Contender:
    """A well-written plain loop: data resident on the device, and a fused optimizer."""
    model = network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    images, labels = images.to(device), labels.to(device)

    def epoch() -> float:
        model.train()
        total = torch.zeros((), device=device)
        for index in torch.randperm(len(images), device=device).split(batch_size):
            inputs = (images[index].float() / 255 - MEAN) / STD
            loss = functional.cross_entropy(model(inputs), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    return epoch


def dataset(images: Tensor, labels: Tensor) -> Data:
    """Return uint8 images of MNIST's shape as a data set of epochd."""
    signature = TrainingSpec.of(DOCUMENT).dataset.signature()
    normalisation = Standardize(torch.tensor(MEAN), torch.tensor(STD), unit=255.0)
    return Data(signature, normalisation, Rows(images, labels), None, None)


def ours(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    spec = TrainingSpec.of(DOCUMENT | {"epochs": 1_000_000})
    data = dataset(images, labels)
    run = Run(build(spec, data), data, spec, device)
    reports = loop.train(run)

    def epoch() -> None:
        while next(reports).level != "epoch":
            pass

    return epoch


def floor(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    """The eight matrix products of a step alone."""
    sizes = [784, 512, 256, 10]
    x = [torch.randn(BATCH, size, device=device) for size in sizes]
    g = [torch.randn(BATCH, size, device=device) for size in sizes]
    w = [torch.randn(b, a, device=device) for a, b in SHAPES]
    dw = [torch.empty_like(weight) for weight in w]

    def products() -> None:
        for layer in (0, 1, 2):
            torch.mm(x[layer], w[layer].t(), out=x[layer + 1])
        for layer in (2, 1, 0):
            torch.mm(g[layer + 1].t(), x[layer], out=dw[layer])
            if layer:
                torch.mm(g[layer + 1], w[layer], out=g[layer])

    steps = -(-len(images) // BATCH)
    if device.type == "cuda":
        return captured(products, steps, device)

    def epoch() -> None:
        for _ in range(steps):
            products()

    return epoch


def captured(step: Callable[[], None], steps: int, device: torch.device) -> Contender:
    """Capture `step` in a CUDA graph; return a function that replays at least `steps` steps."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(UNROLLED):
            step()

    def epoch() -> None:
        for _ in range(-(-steps // UNROLLED)):
            graph.replay()

    return epoch


def scikit_learn(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    from sklearn.neural_network import MLPClassifier

    inputs = ((images.flatten(1).float() / 255 - MEAN) / STD).numpy()
    model = MLPClassifier(
        (512, 256), batch_size=BATCH, learning_rate_init=0.001, max_iter=1, warm_start=True
    )
    return lambda: model.fit(inputs, labels.numpy())


def jax_optax(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    import jax
    import jax.numpy as jnp
    import optax

    # JAX defaults to TF32 on a GPU.
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        jax.config.update("jax_default_device", jax.devices(device.type)[device.index or 0])
    except RuntimeError as error:
        raise LeftOut(f"JAX has no {device.type}: {error}") from error
    key = jax.random.key(0)
    weights = [
        (jax.random.normal(key, shape) * shape[0] ** -0.5, jnp.zeros(shape[1])) for shape in SHAPES
    ]
    optimizer = optax.adam(0.001)
    state = optimizer.init(weights)
    data, targets = jnp.asarray(images.flatten(1).numpy()), jnp.asarray(labels.numpy())

    def loss_of(weights: Any, inputs: Any, target: Any, key: Any) -> Any:
        (w1, b1), (w2, b2), (w3, b3) = weights
        x = (inputs.astype(jnp.float32) / 255 - MEAN) / STD
        x = jax.nn.relu(x @ w1 + b1)
        x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0)
        x = jax.nn.relu(x @ w2 + b2) @ w3 + b3
        return optax.softmax_cross_entropy_with_integer_labels(x, target).mean()

    @jax.jit
    def step(weights: Any, state: Any, key: Any, index: Any) -> Any:
        key, own = jax.random.split(key)
        loss, gradient = jax.value_and_grad(loss_of)(weights, data[index], targets[index], own)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, updates), state, key, loss

    def epoch() -> float:
        nonlocal weights, state, key
        order = np.random.permutation(len(images))
        total = 0.0
        for start in range(0, len(order) - BATCH + 1, BATCH):
            weights, state, key, loss = step(weights, state, key, order[start : start + BATCH])
            total += loss
        return float(total)

    return epoch


def lightning(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    import logging

    import lightning as pl

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, _: int) -> Tensor:
            inputs, target = batch
            return functional.cross_entropy(self.network(inputs), target)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.001, fused=True)

    inputs = (images.float() / 255 - MEAN) / STD
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=BATCH, shuffle=True)
    module = Module()

    def epoch() -> None:
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)

    return epoch


def keras(images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    import keras as k

    inputs = ((images.flatten(1).float() / 255 - MEAN) / STD).numpy()
    # Keras would use any GPU, regardless of `device`.
    with k.device(str(device)):
        model = k.Sequential(
            [
                k.layers.Dense(512, activation="relu"),
                k.layers.Dropout(0.2),
                k.layers.Dense(256, activation="relu"),
                k.layers.Dense(10),
            ]
        )
        loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=k.optimizers.Adam(0.001), loss=loss)

    def epoch() -> None:
        with k.device(str(device)):
            model.fit(inputs, labels.numpy(), batch_size=BATCH, verbose=0)

    return epoch


CONTENDERS: dict[str, Callable[[Tensor, Tensor, torch.device], Contender]] = {
    "the matrix products alone": floor,
    "epochd, fit": ours,
    "a good plain loop": plain,
    "the tutorial's script": tutorial,
    "scikit-learn MLPClassifier": scikit_learn,
    "JAX and optax, jitted": jax_optax,
    "Lightning": lightning,
    "Keras": keras,
}
