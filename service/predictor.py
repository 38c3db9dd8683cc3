"""Loaded models, and their answers."""

import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from ml.inference import Model
from service.errors import Unprocessable
from service.registry import ModelRegistry
from service.schemas import ModelRef

REFERENCE = re.compile(r"^(?P<name>[^@]+)(?:@(?P<version>[1-9]\d{0,8}))?$")


class Predictor:
    """Finds the model that a request means, and keeps the last used ones in memory."""

    def __init__(self, registry: ModelRegistry, models_dir: Path, capacity: int) -> None:
        self._registry = registry
        self._models_dir = models_dir
        self._capacity = capacity
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._lock = Lock()

    def find(self, reference: str) -> tuple[ModelRef, Model]:
        """Return the model of `name` or `name@version`, loaded.

        Raises:
            Unprocessable: the reference is neither.
            NotFound: there is no such model or version.
        """
        match = REFERENCE.match(reference)
        if match is None:
            message = f"{reference!r} is no model reference; write `name` or `name@3`"
            raise Unprocessable(message, [(("body", "model"), message)])
        version = match["version"]
        located = self._registry.locate(match["name"], int(version) if version else None)
        return located.ref, self._load(located.directory)

    def _load(self, directory: str) -> Model:
        # Loading inside the lock: however many requests wait for a model, it is loaded once.
        with self._lock:
            if directory not in self._loaded:
                self._loaded[directory] = Model.load(self._models_dir / directory)
                if len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(directory)
            return self._loaded[directory]
