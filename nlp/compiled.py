"""The compiled functions of the one pass. Everything numba compiles is in this one file.

Compiled code is kept beside the file and made anew when *this* file changes; a helper or a
constant that lived elsewhere would change without it. The shape constants of ``nlp.weights`` are
such constants: whoever changes one touches this file too. ``limit`` is ``nlp.text.READ_LIMIT``.

All functions work on code points (uint32) and on arrays the caller allocates; none holds the GIL.
"""

# Numba infers the types of what it compiles.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from nlp.weights import (
    GRAM,
    HIDDEN_AT,
    MIN_CONTENT,
    NORM_AT,
    REASONS,
    SHINGLE,
    SKETCH,
)

_FILTER_BITS = 21
F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    """Compile at first call, keep the machine code beside the module where that is writable."""
    return _njit(function, fastmath=False)


def _compiled_loosely(function: F) -> F:
    """The same, and sums may be taken in any order: for figures that are shown, not decided on."""
    return _njit(function, fastmath=True)


def _njit(function: F, fastmath: bool) -> F:
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True, fastmath=fastmath))
    except RuntimeError:  # no writable cache directory: compile in every process instead
        return cast(F, numba.njit(function, nogil=True, fastmath=fastmath))


@_compiled
def _is_name(c):
    return (
        (0x4E00 <= c < 0xA000)
        or (97 <= c < 123)
        or (48 <= c < 58)
        or c == 95
        or c == 45
        or c == 0xB7
    )


@_compiled
def clean_one(points, start, end, table, out):
    """Clean ``points[start:end]`` into ``out``; returns the length. Mirrors ``nlp.text.clean``.

    ``out`` bounds how much is read: its length less four.
    """
    n = 0
    for i in range(start, min(end, start + out.shape[0] - 4)):
        c = table[points[i]]
        out[n] = c
        n += int(c != 0)
    m = 0
    i = 0
    while i < n:
        c = out[i]
        if c == 104 and i + 6 < n and out[i + 1] == 116 and out[i + 2] == 116 and out[i + 3] == 112:
            j = i + 4
            if out[j] == 115:
                j += 1
            if j + 2 < n and out[j] == 58 and out[j + 1] == 47 and out[j + 2] == 47:
                j += 3
                while j < n and 33 <= out[j] < 127:
                    j += 1
                out[m] = 0xE000
                m += 1
                i = j
                continue
        at = -1
        if c == 64:
            at = i
        elif c == 47 and i + 2 < n and out[i + 1] == 47 and out[i + 2] == 64:
            at = i + 2
        if at >= 0:
            j = at + 1
            while j < n and j - at <= 30 and _is_name(out[j]):
                j += 1
            if j > at + 1:
                if at > i and j < n and out[j] == 58:
                    j += 1
                out[m] = 0xE002 if at > i else 0xE001
                m += 1
                i = j
                continue
        if c != 32 or (m > 0 and out[m - 1] != 32):
            out[m] = c
            m += 1
        i += 1
    if m > 0 and out[m - 1] == 32:
        m -= 1
    return m


@_compiled
def mask_numbers(text, length, out, origin):
    """Digit runs of five or more as one symbol; ``origin`` maps each symbol back to ``text``."""
    m = 0
    i = 0
    while i < length:
        j = i
        while j < length and 48 <= text[j] < 58:
            j += 1
        if j - i >= 5:
            out[m] = 0xE003
            origin[m] = i
            m += 1
            i = j
        else:
            for k in range(i, max(j, i + 1)):
                out[m] = text[k]
                origin[m] = k
                m += 1
            i = max(j, i + 1)
    return m


@_compiled
def _mix(h):
    g = np.uint32(h ^ (h >> np.uint32(15)))
    g = np.uint32(g * np.uint32(0x85EBCA6B))
    return np.uint32(g ^ (g >> np.uint32(13)))


@_compiled
def build_index(keys):
    """Open addressing ``(slots, 2)`` of key and row + 1, and a bitmap that answers most misses."""
    bits = 10
    while (1 << bits) < 2 * keys.shape[0]:
        bits += 1
    slots = np.zeros((1 << bits, 2), np.uint32)
    mask = np.uint32((1 << bits) - 1)
    bitmap = np.zeros((1 << _FILTER_BITS) >> 5, np.uint32)
    for row in range(keys.shape[0]):
        key = keys[row]
        s = key & mask
        while slots[s, 1] != 0:
            s = (s + np.uint32(1)) & mask
        slots[s, 0] = key
        slots[s, 1] = row + 1
        b = key >> np.uint32(32 - _FILTER_BITS)
        bitmap[b >> np.uint32(5)] |= np.uint32(1) << (b & np.uint32(31))
    return slots, bitmap


@_compiled
def _find_row(slots, mask, key):
    s = key & mask
    while slots[s, 1] != 0:
        if slots[s, 0] == key:
            return np.int64(slots[s, 1]) - 1
        s = (s + np.uint32(1)) & mask
    return np.int64(-1)


@_compiled
def _sketch_one(text, length, content, out):
    """Fill ``out`` with the sketch; returns (exact hash, content characters)."""
    m = 0
    exact = np.uint64(1469598103934665603)
    for i in range(length):
        c = text[i]
        if (0x4E00 <= c < 0xA000) or (97 <= c < 123) or (48 <= c < 58):
            content[m] = c
            m += 1
            exact = (exact ^ np.uint64(c)) * np.uint64(1099511628211)
    empty = np.uint32(0xFFFFFFFF)
    for b in range(SKETCH):
        out[b] = empty
    if m < MIN_CONTENT:
        return exact, m
    for i in range(m - SHINGLE + 1):
        h = np.uint32(2166136261)
        for j in range(SHINGLE):
            h = np.uint32((h ^ content[i + j]) * np.uint32(16777619))
        g = _mix(h)
        b = g & np.uint32(SKETCH - 1)
        v = _mix(np.uint32(g * np.uint32(0x9E3779B1) + np.uint32(1)))
        if v < out[b]:
            out[b] = v
    # A bin that no 4-gram fell into borrows from the next full one (rotation densification), so
    # that equal sets stay equal and short texts still compare.
    first = 0
    while out[first] == empty:
        first += 1
    value = out[first]
    distance = np.uint32(0)
    for back in range(1, SKETCH):
        b = (first - back) % SKETCH
        if out[b] == empty:
            distance += np.uint32(1)
            out[b] = value + distance * np.uint32(0x10001)
        else:
            value = out[b]
            distance = np.uint32(0)
    return exact, m


@_compiled
def _rows_of(symbols, m, slots, bitmap, stamp, mark, rows, starts, sizes):
    """Rows of the distinct known n-grams of one text, where each first stands; returns how many."""
    k = 0
    shift = np.uint32(32 - _FILTER_BITS)
    for i in range(m):
        h = np.uint32(2166136261)
        for n in range(min(GRAM, m - i)):
            h = np.uint32((h ^ symbols[i + n]) * np.uint32(16777619))
            g = _mix(h)
            b = g >> shift
            rows[k] = g
            starts[k] = i * 4 + n
            # Branch-free: the next candidate overwrites a miss.
            k += int((bitmap[b >> np.uint32(5)] >> (b & np.uint32(31))) & np.uint32(1))
    mask = np.uint32(slots.shape[0] - 1)
    c = 0
    for j in range(k):
        row = _find_row(slots, mask, np.uint32(rows[j]))
        if row >= 0 and stamp[row] != mark:
            stamp[row] = mark
            at = starts[j]
            rows[c] = row
            starts[c] = at >> 2
            sizes[c] = (at & 3) + 1
            c += 1
    return c


@_compiled
def score_batch(
    points, offsets, table, limit, slots, bitmap, stamp, mark, rows_table, scale, hidden_bias,
    output, bias, logits, sketches, exacts, contents,
):  # fmt: skip
    """Fill ``logits`` (n, labels), ``sketches`` (n, 64), ``exacts`` (n,), ``contents`` (n,)."""
    width = rows_table.shape[1]
    labels = logits.shape[1]
    hidden = hidden_bias.shape[0]
    text = np.empty(limit + 4, np.uint32)
    symbols = np.empty(limit + 4, np.uint32)
    origin = np.empty(limit + 4, np.int32)
    rows = np.empty(limit * GRAM + 4, np.int64)
    starts = np.empty(limit * GRAM + 4, np.int32)
    sizes = np.empty(limit * GRAM + 4, np.int8)
    total = np.zeros(width, np.int32)
    for d in range(offsets.shape[0] - 1):
        length = clean_one(points, offsets[d], offsets[d + 1], table, text)
        exact, content = _sketch_one(text, length, symbols, sketches[d])
        exacts[d] = exact
        contents[d] = content
        m = mask_numbers(text, length, symbols, origin)
        c = _rows_of(symbols, m, slots, bitmap, stamp, mark + d, rows, starts, sizes)
        total[:] = 0
        for j in range(c):
            r = rows[j]
            for q in range(width):
                total[q] += rows_table[r, q]
        for k in range(labels):
            logits[d, k] = bias[k]
        if c == 0:
            for q in range(hidden):
                v = hidden_bias[q]
                if v > 0:
                    for k in range(labels):
                        logits[d, k] += v * output[q, k]
            continue
        linear = np.float32(1.0 / np.sqrt(total[NORM_AT] * scale[NORM_AT]))
        for k in range(labels):
            logits[d, k] += total[k] * scale[k] * linear
        deep = np.float32(1.0 / np.sqrt(c))
        for q in range(hidden):
            v = total[HIDDEN_AT + q] * scale[HIDDEN_AT + q] * deep + hidden_bias[q]
            if v > 0:
                for k in range(labels):
                    logits[d, k] += v * output[q, k]


@_compiled_loosely
def explain_batch(
    points, offsets, table, limit, slots, bitmap, stamp, mark, rows_table, scale, hidden_bias,
    output, spans, chosen, word_sizes, word_ends, top_words, top_weights,
):  # fmt: skip
    """The words that weighed most for the chosen label of each head.

    The network is piecewise linear, so its answer splits exactly over the n-grams of the text
    (given which hidden units are on). A word's weight is the share of the n-grams over it: what
    it added to the chosen label's logit over the mean of the head's labels.

    ``spans`` (heads + 1,): first column of each head; ``chosen`` (n, heads); ``word_sizes``: code
    points of the words of the cleaned texts, all or the first, ``word_ends`` (n + 1,). Fills
    ``top_words`` (n, heads, REASONS) with word numbers within the text, -1 = none, and
    ``top_weights``.
    """
    heads = spans.shape[0] - 1
    hidden = hidden_bias.shape[0]
    text = np.empty(limit + 4, np.uint32)
    symbols = np.empty(limit + 4, np.uint32)
    origin = np.empty(limit + 4, np.int32)
    rows = np.empty(limit * GRAM + 4, np.int64)
    starts = np.empty(limit * GRAM + 4, np.int32)
    sizes = np.empty(limit * GRAM + 4, np.int8)
    total = np.zeros(rows_table.shape[1], np.int32)
    share = np.zeros((heads, limit + 4), np.float32)
    word_weight = np.zeros((heads, limit + 4), np.float32)
    width = rows_table.shape[1]
    slope = np.zeros((heads, width), np.float32)
    for d in range(offsets.shape[0] - 1):
        for h in range(heads):
            for k in range(REASONS):
                top_words[d, h, k] = -1
                top_weights[d, h, k] = 0
        length = clean_one(points, offsets[d], offsets[d + 1], table, text)
        m = mask_numbers(text, length, symbols, origin)
        c = _rows_of(symbols, m, slots, bitmap, stamp, mark + d, rows, starts, sizes)
        if c == 0:
            continue
        total[:] = 0
        for j in range(c):
            for q in range(width):
                total[q] += rows_table[rows[j], q]
        linear = np.float32(1.0 / np.sqrt(total[NORM_AT] * scale[NORM_AT]))
        deep = np.float32(1.0 / np.sqrt(c))
        for h in range(heads):
            for q in range(hidden):
                v = total[HIDDEN_AT + q] * scale[HIDDEN_AT + q] * deep + hidden_bias[q]
                slope[h, HIDDEN_AT + q] = 0
                if v > 0:
                    mean = np.float32(0)
                    for k in range(spans[h], spans[h + 1]):
                        mean += output[q, k]
                    mean /= np.float32(spans[h + 1] - spans[h])
                    picked = output[q, spans[h] + chosen[d, h]]
                    slope[h, HIDDEN_AT + q] = (picked - mean) * scale[HIDDEN_AT + q] * deep
            for i in range(length):
                share[h, i] = 0
        for h in range(heads):
            # Columns of this head less their mean, times the scale: one dot product per n-gram.
            for k in range(NORM_AT):
                inside = spans[h] <= k < spans[h + 1]
                even = scale[k] * linear / np.float32(spans[h + 1] - spans[h])
                slope[h, k] = -even if inside else np.float32(0)
            k = spans[h] + chosen[d, h]
            slope[h, k] += scale[k] * linear
            slope[h, NORM_AT] = 0
        reach = 0
        for w_no in range(word_ends[d], word_ends[d + 1]):
            reach += word_sizes[w_no]
        for j in range(c):
            if origin[starts[j]] >= reach:
                continue
            r = rows[j]
            for h in range(heads):
                w = np.float32(0)
                for q in range(width):
                    w += np.float32(rows_table[r, q]) * slope[h, q]
                w /= np.float32(sizes[j])
                for i in range(sizes[j]):
                    share[h, origin[starts[j] + i]] += w
        at = 0
        words = word_ends[d + 1] - word_ends[d]
        for w_no in range(words):
            size = word_sizes[word_ends[d] + w_no]
            blank = True
            for i in range(at, min(at + size, length)):
                blank = blank and text[i] == 32
            for h in range(heads):
                weight = np.float32(0)
                for i in range(at, min(at + size, length)):
                    weight += share[h, i]
                word_weight[h, w_no] = 0 if blank else weight
            at += size
        for h in range(heads):
            for k in range(REASONS):
                best = -1
                size_of_best = np.float32(0.005)
                for w_no in range(words):
                    if abs(word_weight[h, w_no]) > size_of_best:
                        best = w_no
                        size_of_best = abs(word_weight[h, w_no])
                if best < 0:
                    break
                top_words[d, h, k] = best
                top_weights[d, h, k] = word_weight[h, best]
                word_weight[h, best] = 0


@_compiled
def clean_batch(points, offsets, table, limit, out, ends):
    buffer = np.empty(limit + 4, np.uint32)
    total = 0
    for d in range(offsets.shape[0] - 1):
        length = clean_one(points, offsets[d], offsets[d + 1], table, buffer)
        for i in range(length):
            out[total + i] = buffer[i]
        total += length
        ends[d + 1] = total


@_compiled
def sketch_batch(points, offsets, table, limit, sketches, exacts, contents):
    text = np.empty(limit + 4, np.uint32)
    content = np.empty(limit + 4, np.uint32)
    for d in range(offsets.shape[0] - 1):
        length = clean_one(points, offsets[d], offsets[d + 1], table, text)
        exact, kept = _sketch_one(text, length, content, sketches[d])
        exacts[d] = exact
        contents[d] = kept


@_compiled
def keys_batch(points, offsets, table, limit, out, ends):
    text = np.empty(limit + 4, np.uint32)
    symbols = np.empty(limit + 4, np.uint32)
    origin = np.empty(limit + 4, np.int32)
    buffer = np.empty(limit * GRAM + 4, np.uint32)
    total = 0
    for d in range(offsets.shape[0] - 1):
        length = clean_one(points, offsets[d], offsets[d + 1], table, text)
        m = mask_numbers(text, length, symbols, origin)
        k = 0
        for i in range(m):
            h = np.uint32(2166136261)
            for n in range(min(GRAM, m - i)):
                h = np.uint32((h ^ symbols[i + n]) * np.uint32(16777619))
                buffer[k] = _mix(h)
                k += 1
        found = np.sort(buffer[:k])
        for j in range(k):
            if j == 0 or found[j] != found[j - 1]:
                out[total] = found[j]
                total += 1
        ends[d + 1] = total
