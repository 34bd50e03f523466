"""Models as ONNX files: a copy of a tree model that ONNX Runtime asks several times faster than its library does.

The copy is made at registration, beside the skops file, and only kept when it answers like the original. It holds
everything that serving needs: the classes, the columns without values, and the rules of the decision.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from include.accidents.errors import ModelError
from include.accidents.models.evaluate import probabilities

if TYPE_CHECKING:
    from include.accidents.features.declaration import Floats

log = logging.getLogger(__name__)

TOLERANCE: Final = 1e-6
"""Largest difference between a probability of the copy and of its original."""
_FACTS: Final = "accidents"
"""The entry of the file's metadata with what is not in its graph: the classes, and our own attributes of the model."""
_OUR_OWN: Final = "accidents_"
"""How the names of these attributes begin: the rules of the decision, the columns without values."""
_INPUT, _OUTPUT = "features", "probabilities"
CONVERTED: Final = ("LGBMClassifier", "XGBClassifier")
"""The classifiers that are copied. The converters take a gap in a forest for a value, and fail over the others."""


class OnnxModel:
    """A model in an ONNX file, with the interface of a fitted scikit-learn classifier.

    Attributes
    ----------
    classes_
        The classes that were seen in training, shape (classes,).
    n_features_in_
        The number of features.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the service divides the cores among requests
        options.enable_cpu_mem_arena = False  # keeps no memory of large batches
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        facts = json.loads(self._session.get_modelmeta().custom_metadata_map[_FACTS])
        self.classes_ = np.asarray(facts["classes"])
        self.n_features_in_ = int(self._session.get_inputs()[0].shape[1])
        for name, value in facts["attributes"].items():
            setattr(self, name, value)

    def predict_proba(self, x: Floats) -> Floats:
        """Return the probability of each of `classes_`, shape (people, classes)."""
        predicted: Floats = self._session.run([_OUTPUT], {_INPUT: np.ascontiguousarray(x, dtype=np.float32)})[0]
        return predicted


def loads(content: bytes) -> OnnxModel:
    """Load a file whose signature was checked; ModelError when it is none of ours."""
    try:
        return OnnxModel(content)
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime raises classes of its own for a damaged file
        raise ModelError(
            f"The model cannot be read as an ONNX file ({type(error).__name__}: {error}).", "train it again."
        ) from error


def dumps(fitted: Any, asked: Sequence[Floats]) -> bytes | None:
    """Copy a fitted model with its rules to ONNX, and compare the copy's answers with the original's.

    Parameters
    ----------
    asked
        Features of held-out people, as they are known in several states of knowledge.

    Returns
    -------
    The file; None for a model that the converters do not know, or whose copy answers otherwise.
    """
    classifier = type(fitted.steps[-1][1]).__name__
    if classifier not in CONVERTED:
        log.info("No ONNX copy: of a %s none is made.", classifier)
        return None
    try:
        content = _convert(fitted)
        ours = loads(content)
        answered = [probabilities(ours, x) for x in asked]
    except Exception as error:  # the converters raise whatever they stumble over
        log.warning("No ONNX copy: it cannot be made (%s).", str(error).strip().partition("\n")[0])
        return None
    expected = [probabilities(fitted, x) for x in asked]
    difference = max((float(np.abs(a - b).max(initial=0)) for a, b in zip(answered, expected, strict=True)), default=0)
    others = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(answered, expected, strict=True))
    if difference > TOLERANCE or others:
        log.warning(
            "No ONNX copy: it would answer otherwise than the model (probabilities differ by %.1e, the class for %d of "
            "%d people).",
            difference,
            others,
            sum(map(len, asked)),
        )
        return None
    return content


def fastest(fitted: Any, asked: Sequence[Floats]) -> Any:
    """Return the ONNX copy of a model that was just fitted, for many predictions; the model itself if it has none."""
    content = dumps(fitted, asked)
    return fitted if content is None else loads(content)


def _convert(fitted: Any) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    _register_converters()
    graph = to_onnx(
        _in_single_precision(fitted),
        initial_types=[(_INPUT, FloatTensorType([None, fitted.n_features_in_]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    ours = {name: value for name, value in vars(fitted).items() if name.startswith(_OUR_OWN)}
    facts = {"classes": np.asarray(fitted.classes_).tolist(), "attributes": ours}
    graph.metadata_props.add(key=_FACTS, value=json.dumps(facts))
    return bytes(graph.SerializeToString())


def _in_single_precision(fitted: Any) -> Any:
    """Round LightGBM's thresholds down to single precision, in which ONNX holds them.

    Features have single precision: such a number is at most a threshold exactly if it is at most the rounded one. The
    converter rounds to the nearest, and then a few people in 20,000 would take another branch.

    Returns
    -------
    A copy of the pipeline; itself when its last step is another classifier.
    """
    import lightgbm

    name, classifier = fitted.steps[-1]
    if not isinstance(classifier, lightgbm.LGBMClassifier):
        return fitted
    text = re.sub(r"^threshold=(.*)$", _rounded_down, classifier.booster_.model_to_string(), flags=re.MULTILINE)
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)  # the lengths of the trees' texts have changed
    rounded = copy.copy(classifier)
    rounded._Booster = lightgbm.Booster(model_str=text)
    pipeline = copy.copy(fitted)
    pipeline.steps = [*fitted.steps[:-1], (name, rounded)]
    return pipeline


def _rounded_down(found: re.Match[str]) -> str:
    thresholds = np.array(found[1].split(), dtype=np.float64)
    single = thresholds.astype(np.float32)
    single = np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)
    return "threshold=" + " ".join(map(repr, single.astype(np.float64).tolist()))


def _register_converters() -> None:
    """Let skl2onnx convert the classifiers of LightGBM and XGBoost."""
    import lightgbm
    import xgboost
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    for classifier, alias, convert in (
        (lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", convert_lightgbm),
        (xgboost.XGBClassifier, "XGBoostXGBClassifier", convert_xgboost),
    ):
        update_registered_converter(
            classifier,
            alias,
            calculate_linear_classifier_output_shapes,
            convert,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
