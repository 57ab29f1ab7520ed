"""Plain ways to group messages, to compare with: vectors (n, d) in, labels (n,) out, -1 for noise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

from models.geometry import Labels, centre, main_axes, unit_rows

Vectors = npt.NDArray[np.float32]


class BaselineMissingError(Exception):
    """A library that only this baseline needs is not installed."""


def k_means(vectors: Vectors, groups: int, seed: int) -> Labels:
    """K-means told the number of groups, random start."""
    model = KMeans(n_clusters=min(groups, len(vectors)), init="random", n_init=1, random_state=seed)
    return np.asarray(model.fit_predict(vectors), np.int32)


def density(vectors: Vectors) -> Labels:
    """One HDBSCAN fit on the 50 main axes, min_cluster_size 10, min_samples 3."""
    centred = centre(vectors, vectors.mean(axis=0, dtype=np.float64))
    return _hdbscan(unit_rows(centred @ main_axes(centred, 50)[0]))


def umap_density(vectors: Vectors, seed: int) -> Labels:
    """UMAP to 10 dimensions, then HDBSCAN.

    Raises
    ------
    BaselineMissingError
        When umap-learn is not installed.
    """
    try:
        import umap  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as exc:
        raise BaselineMissingError(
            "UMAP + HDBSCAN left out: umap-learn is not installed (uv sync --group evaluation)"
        ) from exc
    model = umap.UMAP(n_components=10, n_neighbors=15, min_dist=0.0, metric="cosine", random_state=seed)
    return _hdbscan(np.asarray(model.fit_transform(vectors), np.float32))


def leader(vectors: Vectors, cosine: float = 0.7) -> Labels:
    """One pass: a message joins the nearest leader's group from `cosine` on, or leads a new one (Hartigan, 1975)."""
    leaders = np.zeros_like(vectors)
    labels = np.zeros(len(vectors), np.int32)
    count = 0
    for row, vector in enumerate(vectors):
        similar = leaders[:count] @ vector
        best = int(np.argmax(similar)) if count else -1
        if best >= 0 and similar[best] >= cosine:
            labels[row] = best
            continue
        leaders[count], labels[row] = vector, count
        count += 1
    return labels


def shared_words(said: Sequence[str], documents: Sequence[str]) -> Vectors:
    """Return the cosines (s, n) of tf-idf vectors, idf over the documents; English stop words are left out."""
    model = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    there = model.fit_transform(documents)
    return np.asarray((model.transform(said) @ there.T).toarray(), np.float32)


def _hdbscan(points: npt.NDArray[np.float32]) -> Labels:
    import hdbscan  # type: ignore[import-untyped]

    if len(points) < 10:
        return np.full(len(points), -1, np.int32)
    model = hdbscan.HDBSCAN(min_cluster_size=10, min_samples=3, algorithm="prims_kdtree", core_dist_n_jobs=1)
    return np.asarray(model.fit_predict(points), np.int32)
