"""The process behind ``llama.py``: makes the model, serves it, and ends when its standard input does.

So it cannot outlive the tests, however they end. Its first line of output is its address.
"""

import sys
from pathlib import Path

import xllamacpp

from tests.upstreams.llama import KEY
from tests.upstreams.tiny_model import CONTEXT, write_tiny_model

SLOTS = 4


def serve(model: Path) -> None:
    write_tiny_model(model)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.api_keys = [KEY]
    settings.endpoint_metrics = True
    settings.use_jinja = True
    settings.warmup = False
    settings.n_ctx = CONTEXT
    settings.n_parallel = SLOTS
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    # An idle connection occupies a thread for 5 s: with few threads, new calls would wait for old connections.
    settings.n_threads_http = 64
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
