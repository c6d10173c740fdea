"""Finds which voices of a recording are one person: agglomerative clustering of their vectors, in numpy.

Average linkage over cosine distances, by chains of nearest neighbours (Murtagh 1983): time and memory grow with the
square of the vectors, which :data:`_MOST_CLUSTERED` bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Vectors of more speech are clustered, at most so many (64 MB of distances); the others join who is nearest.
_MOST_CLUSTERED = 4000
_CLUSTERED_FROM_SECONDS = 1.0
#: Two groups of voices further apart than this on average (0 is the same, 1 nothing in common) are two people.
SAME_PERSON_DISTANCE = 0.42
#: Voices of one window are different people, as the model of ten seconds has it: so much is added to their distance.
_SAME_WINDOW_DISTANCE = 0.5
#: A person who says less than this, and less than this share of what is said, is rather a cough, an echo or a crowd.
_FEWEST_SECONDS = 2.5
_SMALLEST_SHARE = 0.03


def cluster(
    vectors: NDArray[np.float32], seconds: NDArray[np.float64], windows: NDArray[np.int64], *, most: int
) -> NDArray[np.int64]:
    """Return the number of each voice's person, from 0.

    ``vectors`` (n, size) are of length 1; ``seconds`` says how much speech each was made from, and ``windows`` in which
    window. There are at most ``most`` people.
    """
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    heavy = np.flatnonzero(seconds >= min(_CLUSTERED_FROM_SECONDS, float(seconds.max())))
    heavy = np.sort(heavy[np.argsort(-seconds[heavy], kind="stable")[:_MOST_CLUSTERED]])
    distances = 1.0 - vectors[heavy] @ vectors[heavy].T
    distances[windows[heavy][:, None] == windows[heavy][None, :]] += _SAME_WINDOW_DISTANCE
    groups = _agglomerated(distances.astype(np.float32), SAME_PERSON_DISTANCE)
    groups = _without_small_ones(groups, vectors[heavy], seconds[heavy], most)
    centres = _centres(groups, vectors[heavy], seconds[heavy])
    people = np.asarray((vectors @ centres.T).argmax(axis=1), dtype=np.int64)
    people[heavy] = groups
    return people


def _agglomerated(distances: NDArray[np.float32], limit: float) -> NDArray[np.int64]:
    """Return group numbers from 0: groups are joined while their average distance is at most the limit.

    Works in ``distances`` itself.
    """
    count = len(distances)
    np.fill_diagonal(distances, np.inf)
    sizes = np.ones(count)
    members: list[list[int]] = [[each] for each in range(count)]
    chain: list[int] = []
    left = set(range(count))
    while left:
        if not chain:
            chain.append(min(left))
        last = chain[-1]
        nearest = int(distances[last].argmin())
        if len(chain) > 1 and distances[last, chain[-2]] <= distances[last, nearest]:
            nearest = chain[-2]
        if not distances[last, nearest] <= limit:
            # Whoever is nearest is too far, and with average linkage nobody ever comes nearer than that.
            left.discard(last)
            distances[last, :] = distances[:, last] = np.inf
            chain.pop()
        elif len(chain) > 1 and nearest == chain[-2]:
            del chain[-2:]
            kept, gone = min(last, nearest), max(last, nearest)
            joined = (sizes[kept] * distances[kept] + sizes[gone] * distances[gone]) / (sizes[kept] + sizes[gone])
            distances[kept, :] = distances[:, kept] = joined
            distances[kept, kept] = np.inf
            distances[gone, :] = distances[:, gone] = np.inf
            sizes[kept] += sizes[gone]
            members[kept] += members[gone]
            members[gone] = []
            left.discard(gone)
        else:
            chain.append(nearest)
    groups = np.zeros(count, dtype=np.int64)
    for number, group in enumerate(group for group in members if group):
        groups[group] = number
    return groups


def _without_small_ones(
    groups: NDArray[np.int64], vectors: NDArray[np.float32], seconds: NDArray[np.float64], most: int
) -> NDArray[np.int64]:
    """Let the smallest group join the nearest while it is too small, or there are more than ``most``."""
    while (count := int(groups.max()) + 1) > 1:
        said = np.bincount(groups, weights=seconds, minlength=count)
        smallest = int(said.argmin())
        is_small = said[smallest] < _FEWEST_SECONDS and said[smallest] < _SMALLEST_SHARE * said.sum()
        if not is_small and count <= most:
            break
        centres = _centres(groups, vectors, seconds)
        likeness = centres @ centres[smallest]
        likeness[smallest] = -np.inf
        groups = np.where(groups == smallest, likeness.argmax(), groups)
        groups = np.where(groups > smallest, groups - 1, groups)
    return groups


def _centres(
    groups: NDArray[np.int64], vectors: NDArray[np.float32], seconds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each group's mean vector, by seconds, at length 1."""
    sums = np.zeros((int(groups.max()) + 1, vectors.shape[1]))
    np.add.at(sums, groups, vectors * seconds[:, None])
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))
