"""The same training in JAX and in Keras, to be timed beside the course's own.

Both are optional: `pip install -e '.[bench]'`. Each rival is a process of its own, in which nothing
of PyTorch's is loaded; it trains an epoch whenever it is told to. The network, the batch size, the
optimiser and the images are the course's; initial weights and order are the libraries' own.

    python -m vae_helpers.benchmarks.rivals NAME    on a line of input, an epoch and its mean loss
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = {
    "JAX: step": ("jax", "optax"),
    "JAX: scan": ("jax", "optax"),
    "Keras": ("keras", "jax"),
}
"""By name, the packages that a rival needs."""
BATCH, LATENTS = 128, 20
SIZES = ((784, 400), (400, 200), (200, 20), (200, 20), (20, 200), (200, 400), (400, 784))


def installed() -> list[str]:
    """The rivals whose packages are here."""
    return [name for name, packages in NEEDED.items() if all(map(find_spec, packages))]


@contextmanager
def started(name: str, *, threads: int) -> Iterator[Callable[[], float]]:
    """A rival's process, and what trains one epoch in it and returns its mean loss per image.

    Args:
        name: of `NEEDED`.
        threads: how many cores the process may use, where the system can limit that.
    """
    command = [sys.executable, "-m", __spec__.name, name]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        bufsize=1,
        env={**os.environ, "KERAS_BACKEND": "jax", "VAE_THREADS": str(threads)},
    ) as process:

        def epoch() -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin)
            if not (line := process.stdout.readline()):
                raise RuntimeError(f"{name}: expected an epoch's loss, but the process has ended")
            return float(line)

        try:
            yield epoch
        finally:
            process.kill()


def _images() -> Any:
    """The training images `[60000, 784]` in [0, 1], read without the package that needs torch."""
    import numpy as np

    path = Path(__file__).parents[2] / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    return content.reshape(-1, 784).astype(np.float32) / 255


def _jax(name: str, images: Any) -> Callable[[], float]:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    rng = np.random.default_rng(0)

    def layer(inputs: int, outputs: int) -> list[Any]:
        reach = inputs**-0.5
        drawn = (rng.uniform(-reach, reach, shape) for shape in ((outputs, inputs), outputs))
        return [jnp.asarray(numbers, "float32") for numbers in drawn]

    def linear(layer: Any, x: Any) -> Any:
        return x @ layer[0].T + layer[1]

    def mean_loss(weights: Any, x: Any, eps: Any) -> Any:
        fc1, fc2, to_mu, to_logvar, fc3, fc4, to_logits = weights
        hidden = jax.nn.relu(linear(fc2, jax.nn.relu(linear(fc1, x))))
        mu, logvar = linear(to_mu, hidden), linear(to_logvar, hidden)
        z = mu + jnp.exp(0.5 * logvar) * eps
        logits = linear(to_logits, jax.nn.relu(linear(fc4, jax.nn.relu(linear(fc3, z)))))
        bce = (jax.nn.softplus(logits) - x * logits).sum(axis=1)
        kl = 0.5 * (mu**2 + jnp.exp(logvar) - 1 - logvar).sum(axis=1)
        return (bce + kl).mean()

    adam = optax.adam(1e-3)

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        weights, moments, key = state
        key, draw = jax.random.split(key)
        eps = jax.random.normal(draw, (len(x), LATENTS))
        loss, slopes = jax.value_and_grad(mean_loss)(weights, x, eps)
        updates, moments = adam.update(slopes, moments)
        return (optax.apply_updates(weights, updates), moments, key), loss * len(x)

    def all_steps(state: Any, images: Any, order: Any) -> Any:
        return jax.lax.scan(lambda state, rows: step(state, images[rows]), state, order)

    jitted, scan, data = jax.jit(step), jax.jit(all_steps), jnp.asarray(images)
    weights = [layer(*size) for size in SIZES]
    state: Any = (weights, adam.init(weights), jax.random.key(0))
    whole = len(images) - len(images) % BATCH

    def epoch() -> float:
        nonlocal state
        order = rng.permutation(len(images))
        rows, rest = order[:whole].reshape(-1, BATCH), order[whole:]
        if name == "JAX: scan":
            state, losses = scan(state, data, jnp.asarray(rows))
            total = losses.sum()
        else:
            total = 0.0
            for some in rows:
                state, loss = jitted(state, data[jnp.asarray(some)])
                total += loss
        if len(rest):
            state, loss = jitted(state, data[jnp.asarray(rest)])
            total += loss
        return float(total) / len(images)

    return epoch


def _keras(images: Any) -> Callable[[], float]:
    import keras
    from keras import layers, ops

    class Sample(layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(0)

        def call(self, mu: Any, logvar: Any) -> Any:
            kl = 0.5 * ops.sum(mu**2 + ops.exp(logvar) - 1 - logvar, axis=1)
            self.add_loss(ops.mean(kl))
            noise = keras.random.normal(ops.shape(mu), seed=self.seeds)
            return mu + ops.exp(0.5 * logvar) * noise

    x = keras.Input((784,))
    hidden = layers.Dense(200, "relu")(layers.Dense(400, "relu")(x))
    z = Sample()(layers.Dense(LATENTS)(hidden), layers.Dense(LATENTS)(hidden))
    logits = layers.Dense(784)(layers.Dense(400, "relu")(layers.Dense(200, "relu")(z)))
    model = keras.Model(x, logits)

    def bce(x: Any, logits: Any) -> Any:
        return ops.sum(ops.softplus(logits) - x * logits, axis=1)

    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=bce)

    def epoch() -> float:
        fitted = model.fit(images, images, batch_size=BATCH, epochs=1, verbose=0)
        return float(fitted.history["loss"][0])

    return epoch


def _serve(name: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[: int(os.environ["VAE_THREADS"])]
        os.sched_setaffinity(0, cores)
    images = _images()
    epoch = _keras(images) if name == "Keras" else _jax(name, images)
    for _ in sys.stdin:
        print(epoch(), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
