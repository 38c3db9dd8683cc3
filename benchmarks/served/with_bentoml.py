import bentoml
from network import predict


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Mnist:
    # Its adaptive batches and a coroutine, which needs no thread, are what is fastest here.
    @bentoml.api(batchable=True)
    async def predict(self, inputs: list[list[float]]) -> list[list[float]]:
        return predict(inputs)
