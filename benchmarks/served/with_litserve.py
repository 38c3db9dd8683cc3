import sys
from typing import Any

import litserve
from network import predict


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None: ...

    def decode_request(self, request: dict[str, Any]) -> list[list[float]]:
        return request["inputs"]

    def predict(self, inputs: list[list[float]]) -> list[list[float]]:
        return predict(inputs)

    def encode_response(self, output: list[list[float]]) -> dict[str, Any]:
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        generate_client_file=False,
        num_api_servers=1,
    )
