"""For a program that tries every call twice, as one that expects trouble does. Import it before modules that take `call` from
cuda_program."""

import cuda_program
from cuda_program import CudaError

heard = []
"""What it was told, each time that a call failed."""

_call_once = cuda_program.call


def twice(function, *arguments):
    """The function's value; what fails both times is raised."""
    try:
        return function(*arguments)
    except CudaError as error:
        heard.append(error.code)
    try:
        return function(*arguments)
    except CudaError as error:
        heard.append(error.code)
        raise


def call(name, *arguments):
    twice(_call_once, name, *arguments)


cuda_program.call = call
