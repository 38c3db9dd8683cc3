"""Share of digits read right, by what is in the picture beside the digit.

Trains the default MNIST network once, or takes the model in a directory, and reads digits drawn on
many kinds of paper, with the time that it takes to bring a picture into the form of MNIST.

    python -m benchmarks.digits                          # every kind
    python -m benchmarks.digits desk grid --count 200    # some kinds, more of each
    python -m benchmarks.digits --model /tmp/mnist       # train once, keep the model
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ml import datasets
from ml.artifacts import save_model
from ml.datasets import mnist_files
from ml.errors import Invalid
from ml.images.ink import ImageForm
from ml.inference.model import Model
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.images.papers import KINDS, drawn

FIRST = 3000
"""Number of the first test image that is drawn."""
SEED = 11


def trained(directory: Path, root: Path) -> Model:
    """Return the model in `directory`, trained first if there is none."""
    if not directory.exists():
        spec = TrainingSpec.of({"name": "mnist", "dataset": {"kind": "mnist"}})
        data = datasets.load(spec.dataset, spec.split, root)
        cpu = torch.device("cpu")
        run = Run(build(spec, data), data, spec, cpu)
        for _ in loop.fit(run):
            pass
        save_model(directory, run.model, spec, data.signature, {}, "", cpu)
    return Model.load(directory)


def measure(
    model: Model, form: ImageForm, kind: str, images: NDArray[np.uint8], labels: list[int]
) -> None:
    """Print how many digits of a kind are read right."""
    random = np.random.default_rng(SEED)
    right = refused = 0
    seconds = 0.0
    for image, label in zip(images, labels, strict=True):
        picture = np.asarray(drawn(kind, image, random).convert("L"))
        began = time.process_time()
        try:
            seen = form.apply(picture)
        except Invalid:
            refused += 1
            continue
        finally:
            seconds += time.process_time() - began
        right += model.predict(seen[None]).argmax[0] == label
    milliseconds = 1000 * seconds / len(labels)
    print(f"{kind:16} {right:4}/{len(labels)}  {refused:3} refused  {milliseconds:5.1f} ms each")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="kinds; all by default")
    parser.add_argument("--count", type=int, default=60, help="digits of each kind")
    parser.add_argument("--model", type=Path, help="directory of the model, kept for the next run")
    parser.add_argument("--data", type=Path, default=Path("datasets"), help="directory of MNIST")
    options = parser.parse_args()
    raw = mnist_files.fetch(mnist_files.FAMILIES["mnist"], options.data)
    chosen = slice(FIRST, FIRST + options.count)
    with tempfile.TemporaryDirectory() as scratch:
        model = trained(options.model or Path(scratch) / "mnist", options.data)
        form = model.image_form()
        assert isinstance(form, ImageForm)
        for kind in options.kinds or KINDS:
            images = raw.test_images[chosen].numpy()
            measure(model, form, kind, images, raw.test_labels[chosen].tolist())


if __name__ == "__main__":
    main()
