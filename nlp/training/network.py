"""The hidden layer, trained on all tasks at once.

Embeddings of n-grams are averaged, rectified, and read by every task; a text of weight 0 in a task
says nothing about it. A target is a distribution over the labels: one for a person's label, the
teacher's probabilities for a text that nobody labelled. AdaGrad, one text at a time, each n-gram
left out of a text with probability ``DROP``, each hidden unit with ``HIDDEN_DROP``. One thread and
one seed: the same weights bit for bit on one machine.

Several networks of one vocabulary are one wider network: their mean.
"""

# Numba infers the types of what it compiles.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

EPOCHS = 8
RATE = 0.1
DROP = 0.4
HIDDEN_DROP = 0.2


@dataclass(frozen=True, slots=True)
class Network:
    """``inputs`` (V, H), ``hidden_bias`` (H,), ``output`` (H, tasks' labels), ``bias``."""

    inputs: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, matrix: Any) -> NDArray[np.float32]:
        """Scores of all tasks for a matrix of ones ``(texts, V)``."""
        count = np.asarray(matrix.sum(axis=1)).ravel()
        scale = 1 / np.sqrt(np.maximum(count, 1))
        hidden = np.maximum((matrix @ self.inputs) * scale[:, None] + self.hidden_bias, 0)
        return np.asarray(hidden @ self.output + self.bias, np.float32)


def train_network(
    matrix: Any,
    targets: NDArray[np.float32],
    weights: NDArray[np.float32],
    spans: NDArray[np.int64],
    hidden: int,
    seed: int,
) -> Network:
    """``targets`` (texts, tasks' labels) sums to 1 in every task whose weight is above 0;
    ``weights`` (texts, tasks); ``spans`` (tasks + 1,): first column of every task."""
    random = np.random.RandomState(seed)
    inputs = (random.randn(matrix.shape[1], hidden) * 0.1).astype(np.float32)
    output = (random.randn(hidden, int(spans[-1])) / np.sqrt(hidden)).astype(np.float32)
    hidden_bias = np.zeros(hidden, np.float32)
    bias = np.zeros(int(spans[-1]), np.float32)
    _descend(
        matrix.indices, matrix.indptr, targets, weights, spans,
        inputs, hidden_bias, output, bias, EPOCHS, np.float32(RATE), DROP, HIDDEN_DROP, seed,
    )  # fmt: skip
    return Network(inputs, hidden_bias, output, bias)


def joined(networks: Sequence[Network]) -> Network:
    """One network that answers the mean of several; its layer is theirs side by side."""
    share = np.float32(1 / len(networks))
    return Network(
        np.hstack([network.inputs for network in networks]),
        np.concatenate([network.hidden_bias for network in networks]),
        np.vstack([network.output for network in networks]) * share,
        np.stack([network.bias for network in networks]).mean(axis=0, dtype=np.float32),
    )


@numba.njit(cache=True, nogil=True, fastmath=True)
def _descend(
    grams,
    ends,
    targets,
    weights,
    spans,
    inputs,
    hidden_bias,
    output,
    bias,
    epochs,
    rate0,
    drop,
    hidden_drop,
    seed,
):
    np.random.seed(seed)
    texts = ends.shape[0] - 1
    width = inputs.shape[1]
    columns = output.shape[1]
    tasks = spans.shape[0] - 1
    small = np.float32(0.01)
    seen_inputs = np.full(inputs.shape, small, np.float32)
    seen_output = np.full(output.shape, small, np.float32)
    seen_hidden = np.full(width, small, np.float32)
    seen_bias = np.full(columns, small, np.float32)
    hidden = np.zeros(width, np.float32)
    back = np.zeros(width, np.float32)
    error = np.zeros(columns, np.float32)
    kept = np.zeros((ends[1:] - ends[:-1]).max(), np.int64)
    order = np.arange(texts)
    lift = np.float32(1 / (1 - hidden_drop))
    step = 0
    for _ in range(epochs):
        np.random.shuffle(order)
        for t in range(texts):
            rate = rate0 * np.float32(1 - step / (epochs * texts))
            step += 1
            d = order[t]
            c = 0
            for j in range(ends[d], ends[d + 1]):
                if np.random.random() >= drop:
                    kept[c] = grams[j]
                    c += 1
            if c == 0:
                continue
            scale = np.float32(1 / np.sqrt(c))
            hidden[:] = 0
            for j in range(c):
                r = kept[j]
                for q in range(width):
                    hidden[q] += inputs[r, q]
            for q in range(width):
                hidden[q] = max(hidden[q] * scale + hidden_bias[q], np.float32(0)) * lift
                if np.random.random() < hidden_drop:
                    hidden[q] = 0
            error[:] = bias
            for q in range(width):
                if hidden[q] > 0:
                    for k in range(columns):
                        error[k] += hidden[q] * output[q, k]
            for i in range(tasks):
                a = spans[i]
                b = spans[i + 1]
                if weights[d, i] == 0:
                    error[a:b] = 0
                    continue
                top = error[a]
                for k in range(a, b):
                    top = max(top, error[k])
                total = np.float32(0)
                for k in range(a, b):
                    error[k] = np.exp(error[k] - top)
                    total += error[k]
                for k in range(a, b):
                    error[k] = (error[k] / total - targets[d, k]) * weights[d, i]
            for q in range(width):
                back[q] = 0
                if hidden[q] > 0:
                    v = np.float32(0)
                    for k in range(columns):
                        v += output[q, k] * error[k]
                    v *= lift
                    back[q] = v
                    for k in range(columns):
                        g = hidden[q] * error[k]
                        seen_output[q, k] += g * g
                        output[q, k] -= rate * g / np.sqrt(seen_output[q, k])
                    seen_hidden[q] += v * v
                    hidden_bias[q] -= rate * v / np.sqrt(seen_hidden[q])
            for k in range(columns):
                seen_bias[k] += error[k] * error[k]
                bias[k] -= rate * error[k] / np.sqrt(seen_bias[k])
            for j in range(c):
                r = kept[j]
                for q in range(width):
                    g = back[q] * scale
                    seen_inputs[r, q] += g * g
                    inputs[r, q] -= rate * g / np.sqrt(seen_inputs[r, q])
