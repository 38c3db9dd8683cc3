import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import predict


class Mnist(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        predictions = np.array(predict(rows), dtype=np.float32)
        output = NumpyCodec.encode_output("predictions", predictions)
        return InferenceResponse(model_name=self.name, outputs=[output])
