"""The states of a connection with a fast path."""

from enum import Enum, auto


class State(Enum):
    """State of a connection: the recipient of its bytes, and the requests still to be answered."""

    IDLE = auto()
    """No request is pending; the next byte begins one."""
    RECEIVING = auto()
    """The connection buffers an incomplete request."""
    ANSWERING = auto()
    """A request with a cached head waits for its batch; the connection buffers later bytes."""
    PASSING_ON = auto()
    """uvicorn's parser reads a complete request that the fast path could not answer."""
    PARSING = auto()
    """uvicorn's parser is in the middle of a request."""
    HOLDING = auto()
    """uvicorn's parser is in the body of a request that the fast path will answer."""
    RESPONDING = auto()
    """uvicorn's parser is between requests, and some responses are not complete."""
