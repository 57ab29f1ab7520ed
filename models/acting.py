"""From probabilities of kinds to decisions: what one message is taken for, and what a cluster is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.kind_names import KINDS, UNSURE

CLIP = 1e-6  # no single message can veto a kind


@dataclass(frozen=True, slots=True)
class ActingRule:
    """From which probability on a message's most probable kind is taken at its word; chosen on the gold's dev half.

    A message that is taken at its word makes a cluster clear (`Policy.clear_share`); only its cluster makes a ticket,
    so what counts is that nine of ten are right, not that each is.

    Attributes
    ----------
    complaint
        At .45, nine of ten were right in reviews and support, and eight of ten in developer chat (at 0, seven), with
        four of five complaints found. The .6 of earlier releases found one in two, for hardly more precision.
    idea
        Where the message asks for something in so many words (`models.cues.REQUEST_CUES`).
    idea_unasked
        Where it does not: on chat, advice to another user reads like an idea. The gold holds too few ideas to choose
        either finely; at these two of three were right, and half of the ideas found.
    """

    complaint: float = 0.45
    idea: float = 0.4
    idea_unasked: float = 0.6


def kind_of(probabilities: npt.NDArray[np.float64], *, requests: bool, rule: ActingRule = ActingRule()) -> str:
    """One message's kind to act on: one of `KINDS`, or "unsure".

    An unsure message is clustered like any other, and never opens a ticket alone.

    Parameters
    ----------
    probabilities
        (5,) float64, a row of `KindPrediction.probabilities`.
    requests
        The same row of `KindPrediction.requests`.
    rule
        The thresholds.
    """
    best = int(np.argmax(probabilities))
    kind, probability = KINDS[best], float(probabilities[best])
    if kind == "complaint" and probability < rule.complaint:
        return UNSURE
    if kind == "idea" and probability < (rule.idea if requests else rule.idea_unasked):
        return UNSURE
    return kind


def vote(probabilities: npt.NDArray[np.float64]) -> str:
    """Kind of a cluster: argmax of the mean log-probability over its messages' rows, (m, 5), m >= 1."""
    if len(probabilities) == 0:
        raise ValueError("a cluster has at least one message")
    return KINDS[int(np.log(np.clip(probabilities, CLIP, 1)).mean(axis=0).argmax())]
