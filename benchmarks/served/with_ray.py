import sys

import ray
from network import predict
from ray import serve
from starlette.requests import Request


# A limit below the number of connections would queue requests. `serve.batch` does not help: with
# one connection it adds its wait, and with 64 it costs as much as it saves.
@serve.deployment(num_replicas=1, max_ongoing_requests=128)
class Mnist:
    async def __call__(self, request: Request) -> dict[str, list[list[float]]]:
        question = await request.json()
        return {"predictions": predict(question["inputs"])}


if __name__ == "__main__":
    port, directory = int(sys.argv[1]), sys.argv[2]
    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=directory)
    serve.start(
        http_options={"host": "127.0.0.1", "port": port},
        logging_config={"enable_access_log": False},
    )
    serve.run(Mnist.bind(), route_prefix="/predict", blocking=True)
