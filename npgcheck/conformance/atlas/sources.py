"""Where choices are met in public code. A place is ``confirmed`` only by a fix or a maintainer."""

from __future__ import annotations

from npgcheck.conformance.atlas.entry import Mark, Seen

_GITHUB = "https://github.com/"


def _issue(repository: str, number: int, mark: Mark = "confirmed") -> Seen:
    return Seen(f"{repository}#{number}", mark, f"{_GITHUB}{repository}/issues/{number}")


def _pull(repository: str, number: int) -> Seen:
    return Seen(f"{repository}#{number}", "confirmed", f"{_GITHUB}{repository}/pull/{number}")


def _commit(repository: str, commit: str, mark: Mark = "confirmed") -> Seen:
    return Seen(f"{repository} {commit}", mark, f"{_GITHUB}{repository}/commit/{commit}")


def _code(repository: str, what: str) -> Seen:
    return Seen(f"{repository}: {what}", "read", f"{_GITHUB}{repository}")


MUSHROOM_WEIGHTS = _commit("MushroomRL/mushroom-rl", "d5f3ae73")
BASELINES_SUBSAMPLE = _code("openai/baselines", "trpo_mpi takes every fifth observation for F")
TIMEOUT = _issue("Toni-SM/skrl", 449)
RESET_STATE = _commit("PKU-Alignment/omnisafe", "96e45f33")
GAE_LEAK = _issue("Toni-SM/skrl", 224)
STD_EPS = _pull("thu-ml/tianshou", 1298)
NOT_DETACHED = _pull("HorizonRobotics/alf", 34)
SUM_OVER_DIMENSIONS = _issue("thu-ml/tianshou", 40)
STD_VARIANCE = _issue("hill-a/stable-baselines", 1058)
CLIPPED_ACTION = _issue("thu-ml/tianshou", 312)
TANH = _issue("google-deepmind/rlax", 54)
EMPIRICAL = _issue("gpauloski/kfac-pytorch", 109)
BATCH_SIZE = _issue("wiseodd/natural-gradients", 2)
BATCH_SIZE_CURVLINOPS = _issue("f-dangel/curvlinops", 108)
OUTPUT_DIMENSION = _issue("f-dangel/curvlinops", 111)
PRECONDITIONER = _pull("Thrandis/EKFAC-pytorch", 1)
FINITE_DIFFERENCE = _code("rll/rllab", "products by finite differences in single precision")
KL_ORDER = _issue("pytorch/pytorch", 57459)
COMPOSITE_KL = _commit("Stable-Baselines-Team/stable-baselines3-contrib", "087951d")
FACTOR_TWO = Seen("mips 41f43c2", "confirmed")
LEARNING_RATE = _code("thu-ml/tianshou", "the natural policy gradient's step takes a learning rate")
OVERWRITTEN = _commit("joschu/modular_rl", "46a6f9a")
LOG_STD_OMITTED = _issue("openai/baselines", 262)
SLACK = _code("openai/baselines", "trpo_mpi accepts up to 1.5 · max_kl")
KL_DIRECTION = _issue("openai/spinningup", 264, "read")
KL_SWAPPED = _issue("tensorforce/tensorforce", 107)
BOTH_LIVE = _issue("dongminlee94/deep_rl", 5, "read")
UNIT_VARIANCE = _code("tfjgeorge/nngeometry", "the regression output has covariance I")
DAMPING = Seen(
    "defaults in use: 1e-5 rllab, 1e-4 mjrl, 1e-2 baselines, 0.1 Spinning Up, sb3-contrib, "
    "tianshou, skrl",
    "read",
)
