"""Step times of convolutional networks on 28x28 images, in each precision."""

from typing import Any

from benchmarks.gpu.fits import PRECISIONS, Fit, digits, epochs_of, seconds, spec
from benchmarks.gpu.session import Session

BATCH = 64
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "cnn": ({"kind": "cnn"}, 1000),
    "resnet18": ({"kind": "torchvision", "name": "resnet18"}, 300),
}
"""Each network with the number of timed steps."""
WARM_STEPS = 300


def measure(session: Session) -> None:
    steps_per_epoch = session.pick(100, 1)
    data = digits(steps_per_epoch * BATCH)
    for name, (model, steps) in NETWORKS.items():
        for precision in PRECISIONS:
            fit = Fit(
                spec(model=model, batch_size=BATCH, precision=precision), data, session.device
            )
            fit.epochs(epochs_of(session.pick(WARM_STEPS, 1), steps_per_epoch))
            epochs = epochs_of(session.pick(steps, 1), steps_per_epoch)
            took = seconds(lambda fit=fit, epochs=epochs: fit.epochs(epochs), session.device)
            us = 1e6 * took / (epochs * steps_per_epoch)
            session.record(f"{name} {precision}", {"us": us, "engine": fit.engine})
            print(f"  {name:9}{precision:9}{us:11,.1f} µs a step, {fit.engine}")
