# routing.py - experts for tokens, drawn as a router would: some are popular, none comes twice for one token.
# SPDX-License-Identifier: MIT
import numpy as np


class Router:
    """Draws experts; the same seed gives the same draws.

    A token takes experts one after the other, each with a probability proportional to 1 / sqrt(rank + 1) among those
    left. Which expert has which rank changes with each draw: those that have been left alone the longest come first. So
    it is in a model, where all other layers are read before the same expert is read again; and so a product of one
    token does not find its weights in a cache, however popular they are."""

    def __init__(self, seed, experts, top_k):
        self.rng = np.random.default_rng(seed)
        self.top_k = top_k
        self.deck = self.rng.permutation(experts).astype(np.int32)
        self.log_weights = -0.5 * np.log1p(np.arange(experts))

    def draw(self, tokens):
        """(tokens, top_k) expert numbers."""
        # The largest of log-weights plus Gumbel noise are such a draw without replacement.
        noisy = self.log_weights + self.rng.gumbel(size=(tokens, self.log_weights.size))
        ids = self.deck[np.argsort(-noisy, axis=1)[:, :self.top_k]]
        used = np.isin(self.deck, ids)
        self.deck = np.concatenate([self.deck[~used], self.deck[used]])
        return ids
