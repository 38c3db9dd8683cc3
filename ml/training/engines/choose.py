"""Selection of the engine that suits a run and its device.

An engine's name states its components:

`resident`  raw data is kept on the device, and each batch is gathered there
`streamed`  data that does not fit on the device is prefetched batch by batch
`+manual`   the backward pass of a chain of simple layers runs without autograd
`+graph`    on a GPU, whole steps are captured once and replayed, several per launch
`+compile`  the network is compiled, as requested by the spec
"""

from ml.training.batches import Batches, Resident, Stream
from ml.training.engines.augmented_batches import AugmentedBatches
from ml.training.engines.base import Autograd, Engine
from ml.training.engines.cuda_graph import CudaGraphEngine, steps_per_call
from ml.training.engines.eager import EagerEngine
from ml.training.engines.manual_backward import manual_network
from ml.training.run import Run


def choose(run: Run, graphs: bool = True) -> Engine:
    """Return the engine for a run; `graphs` allows CUDA graphs on a GPU."""
    spec = run.spec
    needs_autograd = spec.detect_anomaly or spec.compile or spec.precision == "bfloat16"
    passes = (None if needs_autograd else manual_network(run)) or Autograd(run)
    captures = graphs and run.device.type == "cuda" and not spec.detect_anomaly
    together = steps_per_call(run) if captures else passes.steps_ahead
    batches: Batches
    if run.placement == "resident":
        batches = Resident(run.train, spec.batch_size, together)
    else:
        batches = Stream(run.train, spec.batch_size, run.device, together)
    if spec.augment:
        batches = AugmentedBatches(batches, run)
    return (CudaGraphEngine if captures else EagerEngine)(run, batches, passes)
