"""Data sets by name."""

from __future__ import annotations

from typing import Optional

from ..errors import InvalidInput
from . import kuairand, movielens, recsys, synthetic, taobao
from .log import Log, Split
from .sources import MissingData

READERS = {"movielens-100k": movielens.read, "kuairand-pure": kuairand.read, "taobaoad": taobao.read,
           "recsys2017": recsys.read}
NAMES = ("synthetic", *READERS)

__all__ = ["Log", "MissingData", "NAMES", "Split", "read_log"]


def read_log(name: str, directory: Optional[str] = None, data_seed: Optional[int] = None) -> Log:
    """The log called `name`; `directory` is where its files stand, `data_seed` draws a synthetic one."""
    if name == "synthetic":
        seed = {} if data_seed is None else {"seed": data_seed}
        return synthetic.Generator(**seed).generate()
    if data_seed is not None:
        raise InvalidInput(f"a data seed is for the synthetic log, not for {name}")
    if name not in READERS:
        raise InvalidInput(f"no data set is called {name!r}; there are {', '.join(NAMES)}")
    return READERS[name](directory)
