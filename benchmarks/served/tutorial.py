"""A server in the style of FastAPI's tutorial."""

from fastapi import FastAPI
from network import predict
from pydantic import BaseModel


class Question(BaseModel):
    inputs: list[list[float]]


app = FastAPI()


@app.post("/predict")
def answer(question: Question) -> dict[str, list[list[float]]]:
    return {"predictions": predict(question.inputs)}
