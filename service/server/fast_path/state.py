"""The states of a connection with a fast path."""

from enum import Enum, auto


class State(Enum):
    """Who has the bytes that arrive, and who owes an answer."""

    IDLE = auto()
    """Nobody: the next byte begins a request."""
    RECEIVING = auto()
    """The connection keeps the beginning of a request."""
    ANSWERING = auto()
    """A request with a known head waits for its batch; the connection keeps what follows it."""
    PASSING_ON = auto()
    """uvicorn's parser reads a whole request that the fast path could not answer."""
    PARSING = auto()
    """uvicorn's parser is within a request."""
    HOLDING = auto()
    """uvicorn's parser is within the body of a request that the fast path is to answer."""
    RESPONDING = auto()
    """uvicorn's parser is between two requests, and not all that it read is answered."""
