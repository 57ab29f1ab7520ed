"""What kind of message is this: complaint, idea, question, praise or other.

Three logistic regressions on a hidden state of the sentence encoder (H), on masked n-grams (W) and on named cues (Q),
trained only on `data/kinds.jsonl`, which the project wrote itself; H has half of the say, W and Q a quarter each. The
encoder's last vector says what a text is about, and is worse at its kind: with H it adds nothing. No language model.
One message never decides a ticket, its cluster does (`models.acting.vote`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import FeatureUnion  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.acting import CLIP
from models.cues import CUE_NAMES, WORDING_CUES, cue_matrix, has_request
from models.embedder import Embedder
from models.kind_examples import shipped_examples
from models.kind_names import KINDS
from models.text import clauses, mask

# Stored with each message. Its end is the beginning of the sha256 of data/kinds.jsonl (a test compares them);
# its number goes up with any change of features, weights or rules.
RECIPE_VERSION = "kinds-2-44ff3878"

# Shares of KINDS in a stream, to correct for training on balanced examples. Chat: 100 messages of developer
# chat labelled by one reader; a start, to be re-estimated from people's corrections. Reviews and support
# channels get none until somebody has labelled some.
PRIORS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "chat": MappingProxyType({"complaint": 0.14, "idea": 0.03, "question": 0.17, "praise": 0.03, "other": 0.63}),
    }
)

# Where a stream's shares are not known: ideas are rarer wherever messages were counted (1-2 % of developer chat, 0 of
# support, 5-7 % of reviews) than among the examples (one in six), and a false one costs more than a missed one.
IDEA_ODDS = 0.3

HIDDEN_SCALE = 5.0  # a unit row of 384 numbers is too small for C=1 to use
HIDDEN_WEIGHT, NGRAM_WEIGHT, CUE_WEIGHT = 0.5, 0.25, 0.25
CLAUSE_RULE_ABOVE_WORDS = 25
CLAUSE_WEIGHTS = np.array([1.0, 1.0, 0.9, 0.6, 0.3])  # a defect or a request outweighs the praise around it
SHOWN_CUES = 3


@dataclass(frozen=True, slots=True)
class KindPrediction:
    """Kinds of n messages.

    Attributes
    ----------
    probabilities
        (n, 5) float64, columns as `KINDS`, rows sum to 1. Roughly calibrated (ECE .05 on the gold's
        test half).
    cues
        For each message up to three names of wordings, strongest first, that speak for its most probable
        kind; empty where none does and hidden state, n-grams and length decided.
    requests
        (n,) bool, whether the message asks for something in so many words; `models.acting.kind_of` is readier to
        take it for an idea then.
    """

    probabilities: npt.NDArray[np.float64]
    cues: list[tuple[str, ...]]
    requests: npt.NDArray[np.bool_]


class KindClassifier:
    """Weighed mean of three log-probabilities; `train_kinds` returns one that is fitted.

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
        self._hidden_model = LogisticRegression(C=1.0, max_iter=3000)
        self._ngram_model = LogisticRegression(C=10.0, max_iter=3000)
        self._cue_model = LogisticRegression(C=1.0, max_iter=3000)
        self._centre = np.zeros(0)
        self._train_prior: npt.NDArray[np.float64] | None = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], hidden: npt.NDArray[np.float32]) -> Self:
        """Learn from n labelled texts, at least two of each kind.

        Parameters
        ----------
        texts
            n texts as they came.
        labels
            n of `KINDS`.
        hidden
            (n, h) float32, unit rows: `strip_for_embedding` of the texts, as `Embedder.encode_deep` gives them.
        """
        _same_length(texts, hidden)
        codes = np.array([KINDS.index(label) for label in labels])
        counts = np.bincount(codes, minlength=len(KINDS))
        if counts.min() < 2:
            raise ValueError(
                f"two examples of each kind are needed, got {dict(zip(KINDS, counts.tolist(), strict=True))}"
            )
        # Matrices this small gain nothing from threads; on a busy machine BLAS's wait for each other, a minute long.
        with threadpool_limits(1, user_api="blas"):
            # Every hidden state leans the same way; what tells texts apart is the rest.
            self._centre = hidden.mean(axis=0, dtype=np.float64)
            self._hidden_model.fit(self._scaled(hidden), codes)
            self._ngram_model.fit(self._ngrams.fit_transform(texts), codes)
            self._cue_model.fit(cue_matrix(texts), codes)
        self._train_prior = counts / counts.sum()
        return self

    def predict(
        self,
        texts: Sequence[str],
        hidden: npt.NDArray[np.float32],
        *,
        prior: Mapping[str, float] | None = None,
    ) -> KindPrediction:
        """Kinds of n texts, n >= 0.

        Parameters
        ----------
        texts
            n texts as they came.
        hidden
            (n, h) float32, unit rows, from the model that `fit` saw.
        prior
            Share of each kind in the stream that the texts come from, one of `PRIORS` or learned from
            corrections; None leaves the shares of the training examples, which are about equal, but for ideas
            (`IDEA_ODDS`).
        """
        if self._train_prior is None:
            raise ValueError("fit the classifier first, or take one from train_kinds")
        _same_length(texts, hidden)
        if not texts:
            return KindPrediction(np.empty((0, len(KINDS))), [], np.empty(0, dtype=np.bool_))
        cues = cue_matrix(texts)
        by_ngrams, by_cues = self._wording_logs(texts, cues)
        logs = HIDDEN_WEIGHT * _log_probabilities(self._hidden_model, self._scaled(hidden))
        logs += NGRAM_WEIGHT * by_ngrams + CUE_WEIGHT * by_cues
        if prior is None:
            logs[:, KINDS.index("idea")] += np.log(IDEA_ODDS)
        else:
            logs += np.log(_shares(prior)) - np.log(self._train_prior)
        probabilities = _softmax(logs)
        best = probabilities.argmax(axis=1)
        return KindPrediction(probabilities, self._strongest_cues(cues, best), has_request(cues))

    def _scaled(self, hidden: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return HIDDEN_SCALE * (hidden.astype(np.float64) - self._centre)

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


def train_kinds(embedder: Embedder) -> KindClassifier:
    """Classifier fitted on the shipped examples; the same embedder gives the same one."""
    shipped = shipped_examples(embedder)
    return KindClassifier().fit(shipped.texts, shipped.kinds, shipped.hidden)


def _same_length(texts: Sequence[str], hidden: npt.NDArray[np.float32]) -> None:
    if hidden.ndim != 2 or len(texts) != len(hidden):
        raise ValueError(f"{len(texts)} texts do not go with hidden states of shape {hidden.shape}")


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
