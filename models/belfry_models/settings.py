"""The models that can be trained, and the settings they are trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import InvalidInput


@dataclass(frozen=True)
class Parts:
    """What a model adds to two plain towers."""

    cycle_adaptive: bool = False  # CAS
    cross: bool = False  # CTS
    cascade: bool = False  # CMS
    rates: bool = False  # control: running positive rates of user and item as features
    history: bool = False  # control: the mean of the embeddings of the user's last positives


MODELS = {
    "dssm": Parts(),
    "dssm+cas": Parts(cycle_adaptive=True),
    "dssm+cts": Parts(cross=True),
    "dssm+cms": Parts(cascade=True),
    "cs3": Parts(cycle_adaptive=True, cross=True, cascade=True),
    "dssm+rates": Parts(rates=True),
    "dssm+history": Parts(history=True),
    "cs3+history": Parts(cycle_adaptive=True, cross=True, cascade=True, history=True),
}

OBJECTIVES = ("logistic", "retrieval")


def parts_of(model: str) -> Parts:
    if model not in MODELS:
        raise InvalidInput(f"no model is called {model!r}; there are {', '.join(MODELS)}")
    return MODELS[model]


@dataclass(frozen=True)
class Settings:
    """Everything that training needs beside a log, a model's name and a seed."""

    objective: str = "logistic"
    passes: int = 1
    batch: int = 64
    dimension: int = 32
    hidden: tuple[int, ...] = (128, 64)
    embedding_dimension: int = 16
    embedding_deviation: float = 0.05
    embedding_rate: float = 0.1  # Adagrad
    dense_rate: float = 1e-3  # Adam
    cycles: int = 1  # of the layers of a cycle-adaptive model
    user_alpha: float = 0.8
    item_alpha: float = 0.98
    beta: float = 0.8
    history_length: int = 20
    cascade_dimension: int = 16
    ranker_rates: bool = True  # the ranker also sees running positive rates
    # Start at the log odds of the training rows' mean label. Where positives are rare the towers otherwise grow a large
    # common vector to say so, and the averages of those vectors say little else.
    base_rate_bias: bool = False
    similarity: str = "dot"  # of the logistic objective: dot or cosine; the retrieval objective takes the cosine
    temperature: float = 0.1  # of the cosine, at the start; it is learnt
    sampled_negatives: int = 0  # of the retrieval objective, beside those in the batch; drawn uniformly from all items

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InvalidInput(f"no objective is called {self.objective!r}; there are {', '.join(OBJECTIVES)}")
        if self.similarity not in ("dot", "cosine"):
            raise InvalidInput(f"a similarity is dot or cosine, not {self.similarity!r}")

    @property
    def cosine(self) -> bool:
        return self.objective == "retrieval" or self.similarity == "cosine"


# Chosen by `python -m belfry_models tune`, on validation slices and tuning seeds only; see results/tuning/.
CHOSEN: dict[tuple[str, str], dict] = {
    ("movielens-100k", "logistic"): {"embedding_rate": 0.01, "embedding_deviation": 0.01, "item_alpha": 0.8},
    ("movielens-100k", "retrieval"): {"embedding_rate": 0.03, "embedding_deviation": 0.01, "sampled_negatives": 256},
    ("synthetic", "logistic"): {"embedding_rate": 0.1, "embedding_deviation": 0.1, "dimension": 16, "hidden": (),
                                "base_rate_bias": True},
    ("synthetic", "retrieval"): {"batch": 256, "sampled_negatives": 64, "hidden": ()},
}


def settings_for(data: str, objective: str, **changes) -> Settings:
    """The settings chosen for a data set and an objective, with `changes` on top."""
    return replace(Settings(objective=objective), **{**CHOSEN.get((data, objective), {}), **changes})
