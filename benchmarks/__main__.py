"""What a training step costs: a tutorial's DataLoader loop against `ml.training.fit`.

Both train the MNIST network on the same number of made images, in turn, in one process with one
thread. Prints the median of each and their ratio.
"""

import statistics
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ml import training
from ml.datasets import Dataset as Data
from ml.datasets import Rows
from ml.preprocessing import Standardize
from ml.specs import TrainingSpec

IMAGES = 6_400
ROUNDS = 5

SPEC = TrainingSpec.model_validate({"dataset": {"kind": "mnist"}, "epochs": 1, "device": "cpu"})


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Transforms each sample when it is asked for, as `torchvision.datasets` do."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = transforms.functional.to_pil_image(self.images[index])
        return self.transform(image), int(self.labels[index])


def tutorial(images: torch.Tensor, labels: torch.Tensor) -> None:
    model = SPEC.model.build(SPEC.dataset.signature())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_of = nn.CrossEntropyLoss()
    running = 0.0
    for batch, target in DataLoader(Images(images, labels), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        loss = loss_of(model(batch), target)
        loss.backward()
        optimizer.step()
        running += loss.item()


def ours(images: torch.Tensor, labels: torch.Tensor) -> None:
    normalisation = Standardize(torch.tensor(0.1307), torch.tensor(0.3081), unit=255.0)
    rows = Rows(images, labels)
    data = Data(SPEC.dataset.signature(), normalisation, rows, None, None)
    run = training.Run(training.build(SPEC, data), data, SPEC, torch.device("cpu"))
    for _ in training.fit(run):
        pass


def main() -> None:
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, 28, 28), dtype=torch.uint8, generator=random)
    labels = torch.randint(10, (IMAGES,), generator=random)
    seconds: dict[str, list[float]] = {"tutorial": [], "fit": []}
    for _ in range(ROUNDS):
        for name, loop in (("tutorial", tutorial), ("fit", ours)):
            start = time.perf_counter()
            loop(images, labels)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:10}{median / (IMAGES / 64) * 1e3:8.2f} ms a step")
    print(f"fit is {medians['tutorial'] / medians['fit']:.1f} times as fast")


if __name__ == "__main__":
    main()
