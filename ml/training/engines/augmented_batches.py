"""Batches of randomly changed images."""

from hashlib import sha256

import torch
from torch import Tensor

from ml.augmentation import change_images, draw
from ml.datasets import Rows
from ml.training.batches import Batches
from ml.training.run import Run


class AugmentedBatches(Batches):
    """Changes the images of other batches on their device, as the run's spec says.

    The changes of a row follow from the seed, the epoch and the row's place in it: they are the
    same with any engine, and nothing has to be saved for a run to resume.
    """

    def __init__(self, batches: Batches, run: Run) -> None:
        self._batches = batches
        self._run = run
        self.placement = batches.placement
        self.rows, self.batch_size = batches.rows, batches.batch_size
        self._maps: Tensor

    def memory(self, rows: int) -> Rows:
        """Return the memory into which the next `rows` rows are written."""
        return self._batches.memory(rows)

    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the rows in `order` (rows,), at batch number `batch`."""
        self._batches.begin(order, batch)
        spec, epoch = self._run.spec, self._run.progress.epoch
        digest = sha256(f"augment {spec.seed} {epoch}".encode()).digest()
        height, width = self.rows.inputs.shape[-2:]
        seed = int.from_bytes(digest[:8])
        maps = draw(spec.augment, len(order), (height, width), seed)
        self._maps = maps[batch * self.batch_size :].to(self._run.device)

    def take(self, together: int = 1) -> Rows:
        """Return the next batches, concatenated; they are valid until the next call."""
        taken, size = self._batches.take(together), self.batch_size
        maps, self._maps = self._maps[: len(taken)], self._maps[len(taken) :]
        parts = torch.split(taken.inputs, size), torch.split(maps, size)
        for images, their_maps in zip(*parts, strict=True):
            change_images(images, their_maps)
        return taken
