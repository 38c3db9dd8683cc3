"""64 small models trained at once, compared with one of them alone."""

import statistics

from benchmarks.gpu.fits import WARM_STEPS, Fit, digits, epochs_of, seconds, spec
from benchmarks.gpu.session import Session
from ml.training.sweeps import fit_together

MODELS = 64
BATCH = 64
MODEL = {"kind": "mlp", "hidden": [32]}


def measure(session: Session) -> None:
    device = session.device
    steps = session.pick(500, 4)
    epochs = session.pick(5, 2)
    data = digits(steps * BATCH)
    job = spec(model=MODEL, batch_size=BATCH)
    alone = Fit(job, data, device)
    alone.epochs(epochs_of(session.pick(WARM_STEPS, 1), steps))
    rounds = session.pick(3, 1)
    one = statistics.median(seconds(lambda: alone.epochs(epochs), device) for _ in range(rounds))
    session.record("alone_us", 1e6 * one / (epochs * steps))
    print(f"  one alone {session.results['alone_us']:.1f} µs a step, {alone.engine}")

    def together(count: int) -> None:
        members = [job.model_copy(update={"seed": s, "epochs": count}) for s in range(MODELS)]
        fit_together(members, data, device)

    seconds(lambda: together(1), device)
    # The difference cancels the start-up cost.
    short, long = (seconds(lambda n=n: together(n), device) for n in (1, 1 + epochs))
    session.record("together_us", 1e6 * (long - short) / (epochs * steps))
    session.record("together_start_s", short)
    session.record("ratio", session.results["together_us"] / session.results["alone_us"])
    print(
        f"  {MODELS} as one {session.results['together_us']:.1f} µs a step, "
        f"{session.results['ratio']:.2f} times one alone"
    )
