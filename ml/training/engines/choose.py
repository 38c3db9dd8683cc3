"""How optimisation steps run: each engine does the same steps in the way that suits the device.

An engine's name tells what it does:

`resident`  the data lies on the device as it came, and each batch is gathered there
`streamed`  the data does not fit there, and batches are brought to it ahead of time
`+manual`   a chain of simple layers is gone back through without autograd
`+graph`    on a GPU whole steps are captured once and replayed, several at a launch
`+compile`  the network is compiled first, where the spec asks for it
"""

from ml.training.batches import Batches, Resident, Stream
from ml.training.engines.base import Autograd, Engine
from ml.training.engines.cuda_graph import CudaGraphEngine, steps_per_call
from ml.training.engines.eager import EagerEngine
from ml.training.engines.manual_backward import manual_network
from ml.training.run import Run


def choose(run: Run, graphs: bool = True) -> Engine:
    """Return the engine for a run; `graphs` allows CUDA graphs where there is a GPU."""
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
    return (CudaGraphEngine if captures else EagerEngine)(run, batches, passes)
