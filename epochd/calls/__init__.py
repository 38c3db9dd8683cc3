"""The calls of the service: a function for each says what to send, and how to read the answer.

They send nothing themselves, so that `Client` and `AsyncClient` share them.
"""

from epochd.calls import comparing, datasets, jobs, models, predictions, service, sharing

__all__ = ["comparing", "datasets", "jobs", "models", "predictions", "service", "sharing"]
