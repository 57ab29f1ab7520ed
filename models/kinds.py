"""What kind of message is this: complaint, idea, question, praise or other.

Three logistic regressions on the embedding (E), on masked n-grams (W) and on named cues (Q), trained only on
`data/kinds.jsonl`, which the project wrote itself; their log-probabilities are averaged. No language model.
The ranking is good, the thresholds are rough: one message never decides a ticket, its cluster does (`vote`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import FeatureUnion  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.cues import CUE_NAMES, WORDING_CUES, cue_matrix, has_request
from models.embedder import Embedder
from models.kind_names import KINDS, UNSURE
from models.text import clauses, mask, strip_for_embedding

# Stored with each message. Its end is the beginning of the sha256 of data/kinds.jsonl (a test compares them);
# its number goes up with any change of features, weights or rules.
RECIPE_VERSION = "kinds-1-69ee0bbe"

# Shares of KINDS in a stream, to correct for training on balanced examples. Chat: 100 messages of developer
# chat labelled by one reader; a start, to be re-estimated from people's corrections. Reviews and support
# channels get none until somebody has labelled some.
PRIORS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "chat": MappingProxyType({"complaint": 0.14, "idea": 0.03, "question": 0.17, "praise": 0.03, "other": 0.63}),
    }
)

EMBEDDING_SCALE = 3.0  # a unit row of 384 numbers is too small for C=1 to use
CLIP = 1e-6  # no single model can veto a kind
CLAUSE_RULE_ABOVE_WORDS = 25
CLAUSE_WEIGHTS = np.array([1.0, 1.0, 0.9, 0.6, 0.3])  # a defect or a request outweighs the praise around it
SHOWN_CUES = 3


@dataclass(frozen=True, slots=True)
class ActingRule:
    """From which probability on a message's kind is taken at its word.

    From operating points on strangers' reviews and chat (complaint P .65-.96 at .5-.6); to be fitted again on
    the project's own gold.
    """

    complaint: float = 0.6
    idea: float = 0.6


@dataclass(frozen=True, slots=True)
class KindPrediction:
    """Kinds of n messages.

    Attributes
    ----------
    probabilities
        (n, 5) float64, columns as `KINDS`, rows sum to 1. Roughly calibrated (ECE .02 to .15 elsewhere).
    cues
        For each message up to three names of wordings, strongest first, that speak for its most probable
        kind; empty where none does and embedding, n-grams and length decided.
    requests
        (n,) bool, whether the message asks for something in so many words; `kind_of` wants it for an idea.
    """

    probabilities: npt.NDArray[np.float64]
    cues: list[tuple[str, ...]]
    requests: npt.NDArray[np.bool_]


class KindClassifier:
    """Mean of three log-probabilities; `train_kinds` returns one that is fitted.

    Predicting changes nothing, and a message's answer does not depend on its batch.
    """

    def __init__(self) -> None:
        self._ngrams = FeatureUnion(
            [
                (
                    "words",
                    TfidfVectorizer(
                        preprocessor=mask,
                        token_pattern=r"\b\w[\w']*\b|[?!]",
                        ngram_range=(1, 2),
                        sublinear_tf=True,
                    ),
                ),
                (
                    "chars",
                    TfidfVectorizer(
                        preprocessor=mask, analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True
                    ),
                ),
            ]
        )
        self._embedding_model = LogisticRegression(C=1.0, max_iter=3000)
        self._ngram_model = LogisticRegression(C=10.0, max_iter=3000)
        self._cue_model = LogisticRegression(C=1.0, max_iter=3000)
        self._train_prior: npt.NDArray[np.float64] | None = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], embeddings: npt.NDArray[np.float32]) -> Self:
        """Learn from n labelled texts, at least two of each kind.

        Parameters
        ----------
        texts
            n texts as they came.
        labels
            n of `KINDS`.
        embeddings
            (n, d) float32, unit rows: `strip_for_embedding` of the texts, embedded.
        """
        _same_length(texts, embeddings)
        codes = np.array([KINDS.index(label) for label in labels])
        counts = np.bincount(codes, minlength=len(KINDS))
        if counts.min() < 2:
            raise ValueError(
                f"two examples of each kind are needed, got {dict(zip(KINDS, counts.tolist(), strict=True))}"
            )
        # Matrices this small gain nothing from threads; on a busy machine BLAS's wait for each other, a minute long.
        with threadpool_limits(1, user_api="blas"):
            self._embedding_model.fit(_scaled(embeddings), codes)
            self._ngram_model.fit(self._ngrams.fit_transform(texts), codes)
            self._cue_model.fit(cue_matrix(texts), codes)
        self._train_prior = counts / counts.sum()
        return self

    def predict(
        self,
        texts: Sequence[str],
        embeddings: npt.NDArray[np.float32],
        *,
        prior: Mapping[str, float] | None = None,
    ) -> KindPrediction:
        """Kinds of n texts, n >= 0.

        Parameters
        ----------
        texts
            n texts as they came.
        embeddings
            (n, d) float32, unit rows, from the model that `fit` saw.
        prior
            Share of each kind in the stream that the texts come from, one of `PRIORS` or learned from
            corrections; None leaves the shares of the training examples, which are about equal.
        """
        if self._train_prior is None:
            raise ValueError("fit the classifier first, or take one from train_kinds")
        _same_length(texts, embeddings)
        if not texts:
            return KindPrediction(np.empty((0, len(KINDS))), [], np.empty(0, dtype=np.bool_))
        cues = cue_matrix(texts)
        logs = _log_probabilities(self._embedding_model, _scaled(embeddings))
        for part in self._wording_logs(texts, cues):
            logs += part
        logs /= 3
        if prior is not None:
            logs += np.log(_shares(prior)) - np.log(self._train_prior)
        probabilities = _softmax(logs)
        best = probabilities.argmax(axis=1)
        return KindPrediction(probabilities, self._strongest_cues(cues, best), has_request(cues))

    def _wording_logs(
        self, texts: Sequence[str], cues: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Log-probabilities (n, 5) by W and by Q; long texts by their clauses."""
        ngram_logs = _log_probabilities(self._ngram_model, self._ngrams.transform(texts))
        cue_logs = _log_probabilities(self._cue_model, cues)
        long = [row for row, text in enumerate(texts) if _is_long(text)]
        pieces = [clauses(texts[row]) or [texts[row]] for row in long]
        flat = [piece for group in pieces for piece in group]
        if flat:
            by_ngrams = _log_probabilities(self._ngram_model, self._ngrams.transform(flat))
            by_cues = _log_probabilities(self._cue_model, cue_matrix(flat))
            ends = np.cumsum([len(group) for group in pieces])
            for row, end, group in zip(long, ends, pieces, strict=True):
                ngram_logs[row] = _strongest_clause(by_ngrams[end - len(group) : end])
                cue_logs[row] = _strongest_clause(by_cues[end - len(group) : end])
        return ngram_logs, cue_logs

    def _strongest_cues(self, cues: npt.NDArray[np.float32], best: npt.NDArray[np.intp]) -> list[tuple[str, ...]]:
        """Names of the wordings that add most to each row's best kind; ties in the order of `CUE_NAMES`."""
        # Length and punctuation weigh in the model, but "has many words" explains nothing to a reader.
        worth = (cues * self._cue_model.coef_[best])[:, :WORDING_CUES]
        order = np.argsort(-worth, axis=1, kind="stable")[:, :SHOWN_CUES]
        return [
            tuple(CUE_NAMES[column] for column in columns if worth[row, column] > 0)
            for row, columns in enumerate(order)
        ]


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts that a classifier learns from.

    Attributes
    ----------
    texts
        n texts as they came.
    kinds
        n of `KINDS`.
    embeddings
        (n, d) float32, unit rows: `strip_for_embedding` of the texts, embedded.
    """

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    embeddings: npt.NDArray[np.float32]


def shipped_examples(embedder: Embedder) -> Examples:
    """Return the examples that ship with the project, embedded."""
    lines = files("models").joinpath("data/kinds.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = tuple(row["text"] for row in rows)
    embeddings = embedder.encode([strip_for_embedding(text) for text in texts])
    return Examples(texts, tuple(row["kind"] for row in rows), embeddings)


def train_kinds(embedder: Embedder) -> KindClassifier:
    """Classifier fitted on the shipped examples; the same embedder gives the same one."""
    shipped = shipped_examples(embedder)
    return KindClassifier().fit(shipped.texts, shipped.kinds, shipped.embeddings)


def kind_of(probabilities: npt.NDArray[np.float64], *, requests: bool, rule: ActingRule = ActingRule()) -> str:
    """One message's kind to act on: one of `KINDS`, or "unsure".

    An unsure message is clustered like any other, and never opens a ticket alone.

    Parameters
    ----------
    probabilities
        (5,) float64, a row of `KindPrediction.probabilities`.
    requests
        The same row of `KindPrediction.requests`; an idea without is unsure, for on chat nine of ten messages
        that were called ideas were advice to another user.
    rule
        The thresholds.
    """
    best = int(np.argmax(probabilities))
    kind, probability = KINDS[best], float(probabilities[best])
    if kind == "complaint" and probability < rule.complaint:
        return UNSURE
    if kind == "idea" and (probability < rule.idea or not requests):
        return UNSURE
    return kind


def vote(probabilities: npt.NDArray[np.float64]) -> str:
    """Kind of a cluster: argmax of the mean log-probability over its messages' rows, (m, 5), m >= 1."""
    if len(probabilities) == 0:
        raise ValueError("a cluster has at least one message")
    return KINDS[int(np.log(np.clip(probabilities, CLIP, 1)).mean(axis=0).argmax())]


def _same_length(texts: Sequence[str], embeddings: npt.NDArray[np.float32]) -> None:
    if embeddings.ndim != 2 or len(texts) != len(embeddings):
        raise ValueError(f"{len(texts)} texts do not go with embeddings of shape {embeddings.shape}")


def _scaled(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return EMBEDDING_SCALE * embeddings.astype(np.float64)


def _shares(prior: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Prior in the order of KINDS, (5,) float64 above 0; its sum need not be 1."""
    if set(prior) != set(KINDS) or min(prior.values()) <= 0:
        raise ValueError(f"a prior gives a share above 0 to each of {KINDS}, got {dict(prior)}")
    return np.array([prior[kind] for kind in KINDS])


def _is_long(text: str) -> bool:
    return len(text.split(maxsplit=CLAUSE_RULE_ABOVE_WORDS)) > CLAUSE_RULE_ABOVE_WORDS


def _softmax(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def _log_probabilities(model: LogisticRegression, features: Any) -> npt.NDArray[np.float64]:
    """Log of the model's (n, 5) probabilities, clipped.

    Not `predict_proba`: BLAS may round a row differently in another batch, einsum and sparse products do not.
    """
    if isinstance(features, np.ndarray):
        scores = np.einsum("nd,kd->nk", features, model.coef_)
    else:
        scores = features @ model.coef_.T
    return np.log(np.clip(_softmax(scores + model.intercept_), CLIP, 1.0))


def _strongest_clause(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-probabilities (5,) of a long text from those of its clauses (c, 5)."""
    weighed = np.exp(logs.max(axis=0)) * CLAUSE_WEIGHTS
    return np.asarray(np.log(np.clip(weighed / weighed.sum(), CLIP, 1.0)), dtype=np.float64)
