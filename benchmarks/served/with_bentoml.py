import bentoml
from network import predict


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Mnist:
    # Adaptive batching and a coroutine, which needs no thread, are fastest here.
    @bentoml.api(batchable=True)
    async def predict(self, inputs: list[list[float]]) -> list[list[float]]:
        return predict(inputs)
