"""Models as skops files, read with our own list of types."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from include.accidents.errors import ModelError
from include.accidents.registry import arrays

MAX_MODEL_BYTES = 2 << 30

# Types that skops does not trust by itself. Each was reviewed: it holds numbers, or calls nothing at load time.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "functools.partial",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


def dumps(fitted: Any) -> bytes:
    """Return the model as a skops file."""
    return bytes(_skops().dumps(fitted))


def loads(content: bytes) -> Any:
    """Load a skops file whose origin was checked; ModelError when it needs types that are not on our list."""
    skops_io = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops_io.loads(content, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        refused = sorted(set(skops_io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
        raise ModelError(
            f"The model holds types that are not on the list: {', '.join(refused)}.",
            "review them and add them to TRUSTED_TYPES of include/accidents/registry/skops_files.py, or change the "
            "model.",
        ) from error
    except MemoryError:  # the file may be good
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ModelError(
            f"The model cannot be read as a skops file ({type(error).__name__}: {error}).", "train it again."
        ) from error


@functools.cache
def _skops() -> Any:
    """Import skops without warnings: it looks up names in every loaded module, and Airflow's old modules warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skops.io
    arrays.teach_skops()
    return skops.io
