# SPDX-License-Identifier: MIT
"""Scikit-learn estimators: every class there is, what their digests see, and what they refuse."""

from __future__ import annotations

import copy
import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.digests import content_node, model_nodes, register_digester, weights_node
from mrv_core.errors import FormatError, UnsupportedTypeError
from mrv_core.provenance_tree import MerkleNode

pytest.importorskip("sklearn")

import joblib  # type: ignore[import-untyped]
from scipy.stats import rv_histogram, uniform  # type: ignore[import-untyped]
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import DepthFirstTreeBuilder
from sklearn.utils.discovery import all_estimators

ROWS: Final = 30
LABELS: Final = np.arange(ROWS) % 2
FEATURES: Final = np.abs(np.random.default_rng(1).normal(size=(ROWS, 3))) + LABELS[:, None]
OTHER_LABELS: Final = (np.arange(ROWS) % 3 == 0).astype(int)
OTHER_FEATURES: Final = FEATURES[::-1, [2, 0, 1]] * [1, 2, 9] + 0.1

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "ClassifierChain": {"estimator": LogisticRegression()},
    "ColumnTransformer": {"transformers": [("scale", StandardScaler(), [0, 1])]},
    "DBSCAN": {"eps": 1.0},
    "FeatureUnion": {"transformer_list": [("scale", StandardScaler())]},
    "FixedThresholdClassifier": {"estimator": LogisticRegression()},
    "FrozenEstimator": {"estimator": Ridge().fit(FEATURES, LABELS)},
    "GaussianRandomProjection": {"n_components": 2},
    "GridSearchCV": {"estimator": Ridge(), "param_grid": {"alpha": [1.0, 2.0]}},
    "HalvingGridSearchCV": {"estimator": Ridge(), "param_grid": {"alpha": [1.0, 2.0]}},
    "HalvingRandomSearchCV": {"estimator": Ridge(), "param_distributions": {"alpha": uniform(0, 1)}},
    "HistGradientBoostingClassifier": {"max_iter": 3},
    "HistGradientBoostingRegressor": {"max_iter": 3},
    "LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "MiniBatchKMeans": {"max_iter": 3, "n_clusters": 2},
    "MultiOutputClassifier": {"estimator": LogisticRegression()},
    "MultiOutputRegressor": {"estimator": Ridge()},
    "OneVsOneClassifier": {"estimator": LogisticRegression()},
    "OneVsRestClassifier": {"estimator": LogisticRegression()},
    "OutputCodeClassifier": {"estimator": LogisticRegression()},
    "Pipeline": {"steps": [("scale", StandardScaler()), ("solve", Ridge())]},
    "RFE": {"estimator": Ridge()},
    "RFECV": {"estimator": Ridge(), "cv": 2},
    "RandomizedSearchCV": {"estimator": Ridge(), "param_distributions": {"alpha": uniform(0, 1)}, "n_iter": 2},
    "RegressorChain": {"estimator": Ridge()},
    "SelectFromModel": {"estimator": Ridge()},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "SequentialFeatureSelector": {"estimator": Ridge(), "cv": 2},
    "SparseCoder": {"dictionary": np.eye(3)},
    "SparseRandomProjection": {"n_components": 2},
    "SpectralBiclustering": {"n_clusters": 2},
    "StackingClassifier": {
        "estimators": [("a", LogisticRegression()), ("b", DecisionTreeClassifier(random_state=0))],
        "cv": 2,
    },
    "StackingRegressor": {"estimators": [("a", Ridge())], "cv": 2},
    "TSNE": {"max_iter": 250, "perplexity": 5},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression(), "cv": 2, "thresholds": 5},
    "VotingClassifier": {"estimators": [("a", LogisticRegression()), ("b", DecisionTreeClassifier(random_state=0))]},
    "VotingRegressor": {"estimators": [("a", Ridge())]},
}
"""Parameters of the classes that need some, or are slow without."""

UNCHANGED_BY_DATA: Final = {
    "AdditiveChi2Sampler",
    "Binarizer",
    "FeatureHasher",
    "FrozenEstimator",
    "FunctionTransformer",
    "GaussianRandomProjection",
    "HashingVectorizer",
    "LabelBinarizer",
    "LabelEncoder",
    "MissingIndicator",
    "Normalizer",
    "PatchExtractor",
    "PolynomialCountSketch",
    "PolynomialFeatures",
    "RBFSampler",
    "SkewedChi2Sampler",
    "SparseCoder",
    "SparseRandomProjection",
    "TfidfTransformer",
}
"""Classes that learn nothing here but the number of columns or the set of labels."""

TIMED: Final = {"GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "RandomizedSearchCV"}
"""Classes that note how long fitting took."""

USES: Final = ("predict", "predict_proba", "decision_function", "score_samples", "transform", "kneighbors")


DATA: Final = {
    "CountVectorizer": "texts",
    "DictVectorizer": "mappings",
    "FeatureHasher": "mappings",
    "HashingVectorizer": "texts",
    "KernelCenterer": "kernel",
    "MultiLabelBinarizer": "sets",
    "PatchExtractor": "images",
    "TfidfVectorizer": "texts",
}
"""Classes for something else than a table of numbers."""


def training_data(kind: str | None, features: Any, labels: Any) -> list[tuple[Any, ...]]:
    """Return what the various kinds of estimators are fitted on; each class takes the first that it accepts."""
    if kind is None:
        tables = [(features, target) for target in (labels, labels + 0.5, labels[:, None] + [0, 1])]
        return [*tables, (features[:, 0], labels), (labels,)]
    texts = [f"word{label} text{number:.0f}" for label, number in zip(labels, 9 * features[:, 0], strict=True)]
    others = {
        "images": np.repeat(features[None], 12, axis=2),
        "kernel": features @ features.T,
        "mappings": [{"number": row[0], text: 1} for row, text in zip(features, texts, strict=True)],
        "sets": [set(text.split()) for text in texts],
        "texts": texts,
    }
    return [(others[kind],)]


def new(cls: Any) -> Any:
    """Return an unfitted estimator that is quick to fit and always the same."""
    estimator = cls(**copy.deepcopy(SETTINGS.get(cls.__name__, {})))
    quick = {"random_state": 7, "n_estimators": 5}
    estimator.set_params(**{name: quick[name] for name in quick.keys() & estimator.get_params(deep=False)})
    return estimator


def fitted(cls: Any, features: Any = FEATURES, labels: Any = LABELS) -> tuple[Any, Any]:
    """Return a fitted estimator and what it was fitted on."""
    refusals = []
    for arguments in training_data(DATA.get(cls.__name__), features, labels):
        try:
            with silent():
                return new(cls).fit(*arguments), arguments[0]
        except (IndexError, TypeError, ValueError) as error:
            refusals.append(error)
    raise AssertionError(f"{cls.__name__} accepts none of the data: {refusals}")


def copies(estimator: Any) -> list[Any]:
    """Return a deep copy, and what comes back after saving."""
    stream = io.BytesIO()
    with silent():
        joblib.dump(estimator, stream)
        stream.seek(0)
        return [copy.deepcopy(estimator), joblib.load(stream)]


def use(estimator: Any, features: Any) -> None:
    """Call whatever a fitted estimator can be used for."""
    with silent():
        for name in USES:
            if hasattr(estimator, name):
                getattr(estimator, name)(features)


@contextmanager
def silent() -> Iterator[None]:
    """Ignore what scikit-learn says of tiny data and old classes; what hashing says is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def differences(one: MerkleNode, other: MerkleNode) -> list[str]:
    """Return the paths of the leaves that two nodes do not share."""
    left, right = ({path: node.hash for path, node in top.walk() if node.kind != "branch"} for top in (one, other))
    return sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))


@pytest.fixture(scope="module")
def network() -> MLPClassifier:
    model = MLPClassifier((4,), random_state=0)
    for _ in range(3):
        model.partial_fit(FEATURES, LABELS, classes=[0, 1])
    return model


@pytest.mark.parametrize(("name", "cls"), [pytest.param(name, cls, id=name) for name, cls in all_estimators()])
def test_every_class(name: str, cls: Any) -> None:
    estimator, features = fitted(cls)
    node = content_node(estimator)
    for same in copies(estimator):
        assert differences(content_node(same), node) == []
    use(estimator, features)
    assert differences(content_node(estimator), node) == []
    again, _ = fitted(cls)
    assert [path for path in differences(content_node(again), node) if "_time" not in path] == []
    assert (content_node(again) == node) == (name not in TIMED)
    other, _ = fitted(cls, OTHER_FEATURES, OTHER_LABELS)
    assert (content_node(other) == node) == (name in UNCHANGED_BY_DATA)


def test_two_children(network: MLPClassifier) -> None:
    node, model = content_node(network), model_nodes(network)
    assert [child.label for child in node.children] == ["architecture", "weights"]
    assert node.child("architecture") == model.architecture
    assert node.child("weights") == model.weights == weights_node(network)
    assert content_node({"model": network}).child("model") == content_node(network, label="model")


def test_architecture_of_a_pipeline() -> None:
    pipeline = Pipeline([("scale", StandardScaler(with_mean=False)), ("skip", "passthrough")], memory=None)
    assert model_nodes(pipeline).architecture.value == {
        "class": "sklearn.pipeline.Pipeline",
        "params": {
            "memory": None,
            "steps": [
                [
                    "scale",
                    {
                        "class": "sklearn.preprocessing._data.StandardScaler",
                        "params": {"copy": True, "with_mean": False, "with_std": True},
                    },
                ],
                ["skip", "passthrough"],
            ],
            "transform_input": None,
            "verbose": False,
        },
    }


@pytest.mark.parametrize(
    "model", [LinearRegression(), MLPClassifier((3,)).set_params(early_stopping=True), make_pipeline(StandardScaler())]
)
def test_unfitted(model: Any) -> None:
    weights = weights_node(model)
    # A network's loss is not a parameter: its constructor sets it.
    assert {child.label: child.value for child in weights.children} == (
        {"loss": "log_loss"} if isinstance(model, MLPClassifier) else {}
    )
    assert weights.kind == "branch"


def changed_network(model: Any) -> None:
    model.coefs_[1][2, 0] += 2.0**-40


def changed_step(model: Any) -> None:
    model.named_steps["standardscaler"].mean_[1] += 1


def changed_tree(model: Any) -> None:
    model.estimators_[1].tree_.value[0, 0, 0] += 1


def changed_kernel(model: Any) -> None:
    model.kernel_.k2.length_scale += 1


def changed_label(model: Any) -> None:
    model.classes_[1] = "c"


def changed_vocabulary(model: Any) -> None:
    model.vocabulary_["two"] = 9


def changed_neighbour(model: Any) -> None:
    model._y[3] = 1 - model._y[3]


CHANGES: Final[list[tuple[Any, Callable[[Any], None], str]]] = [
    (MLPClassifier((3,), max_iter=2, random_state=0), changed_network, "weights/coefs_/1"),
    (make_pipeline(StandardScaler(), Ridge()), changed_step, "weights/steps/standardscaler/mean_"),
    (RandomForestClassifier(2, random_state=0), changed_tree, "weights/estimators_/1/weights/tree_/values"),
    (
        GaussianProcessRegressor(ConstantKernel() * RBF(2.0), optimizer=None),
        changed_kernel,
        "weights/kernel_/k2/length_scale",
    ),
    (KNeighborsClassifier(), changed_neighbour, "weights/_y"),
]


@pytest.mark.parametrize(("model", "change", "path"), CHANGES, ids=[path for _, _, path in CHANGES])
def test_one_change_is_one_leaf(model: Any, change: Callable[[Any], None], path: str) -> None:
    with silent():
        model.fit(FEATURES, LABELS)
    before = content_node(model, label="model")
    change(model)
    assert differences(before, content_node(model, label="model")) == [path]


@pytest.mark.parametrize(
    ("model", "data", "change", "path"),
    [
        (LabelEncoder(), np.array(["a", "b"], object), changed_label, "weights/classes_"),
        (TfidfVectorizer(), ["one two", "two three"], changed_vocabulary, "weights/vocabulary_"),
    ],
)
def test_one_changed_text_is_one_leaf(model: Any, data: Any, change: Callable[[Any], None], path: str) -> None:
    before = content_node(model.fit(data), label="model")
    change(model)
    assert differences(before, content_node(model, label="model")) == [path]


def test_object_arrays_of_text() -> None:
    weights = weights_node(OneHotEncoder().fit(np.array([["b", 1], ["a", 2], [None, 1]], object)))
    assert weights.child("categories_").value == [["a", "b", None], [1, 2]]


def test_settings_of_a_prefit_estimator_are_weights() -> None:
    one, other = (FrozenEstimator(Ridge(alpha).fit(FEATURES, LABELS)) for alpha in (1.0, 1e-9))
    paths = differences(content_node(one, label="model"), content_node(other, label="model"))
    assert "weights/estimator/coef_" in paths


@pytest.mark.parametrize("wrap", [partial, lambda function, model: partial(function, [{"key": model}])])
def test_prefit_estimator_inside_a_function(wrap: Any) -> None:
    one, other = (
        FunctionTransformer(wrap(str, Ridge().fit(FEATURES * scale, LABELS)), validate=False) for scale in (1, 2)
    )
    assert content_node(one) != content_node(other)


def test_deeply_unbalanced_leaves() -> None:
    model = Birch(threshold=0.01, n_clusters=None, branching_factor=3).fit(
        np.random.default_rng(0).normal(size=(300, 2))
    )
    leaves = weights_node(model).child("dummy_leaf_").child("leaves")
    assert len(leaves.children) > 100
    before = weights_node(model)
    model.dummy_leaf_.next_leaf_.subclusters_[0].n_samples_ += 1
    assert any(path.startswith("dummy_leaf_/leaves/0/") for path in differences(before, weights_node(model)))


def test_cores_do_not_count() -> None:
    trees = HistGradientBoostingClassifier(max_iter=2).fit(FEATURES, LABELS)
    clusters = KMeans(2, n_init=1, random_state=0).fit(FEATURES)
    before = content_node(trees), content_node(clusters)
    trees._bin_mapper.n_threads += 5
    clusters._n_threads += 5
    assert (content_node(trees), content_node(clusters)) == before


def test_that_name_elsewhere_counts() -> None:
    model = LinearRegression()
    before = content_node(model)
    model._n_threads = 1
    assert content_node(model) != before


def test_masked_elements_are_not_content() -> None:
    def model(behind: float) -> Any:
        ridge = Ridge()
        ridge.table_ = np.ma.MaskedArray([1.0, behind, 3.0], [False, True, False])
        return ridge

    assert content_node(model(2.0)) == content_node(model(math.nan))
    assert content_node(model(2.0)) != content_node(Ridge())


def test_random_states() -> None:
    def model(draws: int, make: Callable[[int], Any]) -> Any:
        ridge = Ridge(random_state=make(1))
        ridge.random_ = make(2)
        ridge.random_.bytes(draws)
        return ridge

    for make in (np.random.RandomState, np.random.default_rng):
        assert content_node(model(0, make)) == content_node(model(0, make)) != content_node(model(64, make))
        assert model_nodes(model(0, make)).architecture != model_nodes(Ridge(random_state=make(2))).architecture


def test_parameters_that_are_objects() -> None:
    search = RandomizedSearchCV(
        make_pipeline(SVC()),
        {"svc__C": uniform(1, 2), "svc__kernel": ["rbf"]},
        cv=KFold(3),
        scoring=make_scorer(mean_squared_error, greater_is_better=False),
    )
    params: Any = model_nodes(search).architecture.value
    params = params["params"]
    assert params["param_distributions"]["svc__C"] == {
        "type": "distribution",
        "value": [{"type": "name", "value": "scipy.stats._continuous_distns.uniform_gen"}, [1, 2], {}],
    }
    assert params["cv"] == {
        "class": "sklearn.model_selection._split.KFold",
        "state": {"n_splits": 3, "random_state": None, "shuffle": False},
    }
    assert params["scoring"]["state"]["_sign"] == -1
    assert params["scoring"]["state"]["_score_func"] == {
        "type": "name",
        "value": "sklearn.metrics._regression.mean_squared_error",
    }


def test_arrays_as_parameters() -> None:
    one, other = (ColumnTransformer([("a", "drop", np.array([0, column]))]) for column in (1, 2))
    assert model_nodes(one).architecture != model_nodes(other).architecture
    sets = [ColumnTransformer([("a", "drop", np.array([0, 1], dtype))]) for dtype in (np.int64, np.int32)]
    assert model_nodes(sets[0]).architecture != model_nodes(sets[1]).architecture


def test_where_results_are_cached_does_not_count(tmp_path: Any) -> None:
    one, other = (make_pipeline(Ridge(), memory=joblib.Memory(tmp_path / name, verbose=0)) for name in "ab")
    assert content_node(one) == content_node(other) != content_node(make_pipeline(Ridge()))


def test_metadata_requests() -> None:
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(mean_squared_error).set_score_request(sample_weight=True)
        search = GridSearchCV(Ridge().set_fit_request(sample_weight=True), {"alpha": [1.0]}, scoring=scorer)
        node = content_node(search)
        assert content_node(copy.deepcopy(search)) == node
        search.estimator.set_fit_request(sample_weight=False)
        assert content_node(search) != node


def test_voting_names_its_estimators() -> None:
    model = VotingClassifier([("a", LogisticRegression())]).fit(FEATURES, LABELS)
    paths = {path for path, _ in weights_node(model).walk()}
    assert {"estimators_/0/weights/coef_", "named_estimators_/a/weights/coef_"} <= paths


SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.floats().map(np.float64)
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.sampled_from(["type", "class", "value"]), inner, max_size=3)
        | st.dictionaries(st.integers() | st.booleans() | st.tuples(st.text(max_size=2)), inner, max_size=2)
        | st.frozensets(st.text(max_size=3) | st.integers(), max_size=3)
    ),
    max_leaves=8,
)


def decoded(value: Any) -> Any:
    """Read a value back from its JSON: whatever can be read back is not the JSON of two values."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {"type", "value"}:
        return {key: decoded(item) for key, item in value.items()}
    kinds: dict[str, Callable[[Any], Any]] = {
        "dict": lambda items: {_hashable(decoded(key)): decoded(item) for key, item in items},
        "float": float,
        "int": int,
        "set": lambda items: frozenset(map(decoded, items)),
    }
    return kinds[value["type"]](value["value"])


def _hashable(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


@given(VALUES)
def test_plain_values_can_be_read_back(value: Any) -> None:
    architecture: Any = model_nodes(FunctionTransformer(kw_args=value)).architecture.value
    assert repr(_sorted(decoded(architecture["params"]["kw_args"]))) == repr(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {"dict": sorted(([key, _sorted(item)] for key, item in value.items()), key=repr)}
    if isinstance(value, frozenset):
        return {"set": sorted(value, key=repr)}
    return [_sorted(item) for item in value] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (np.log1p, {"type": "name", "value": "numpy.log1p"}),
        (np.mean, {"type": "name", "value": "numpy.mean"}),
        (Ridge, {"type": "name", "value": "sklearn.linear_model._ridge.Ridge"}),
        (np.dtype("f4"), {"type": "dtype", "value": "<f4"}),
        (PurePosixPath("a/b"), {"type": "path", "value": "a/b"}),
        (slice(1, None), {"type": "slice", "value": [1, None, None]}),
        (range(3), {"type": "range", "value": [0, 3, 1]}),
        (math.nan, {"type": "float", "value": "nan"}),
        (-math.inf, {"type": "float", "value": "-inf"}),
        (np.uint64(2**63), {"type": "int", "value": "9223372036854775808"}),
        (np.float32(0.1), 0.10000000149011612),
        (np.array(["a", None], object), ["a", None]),
    ],
)
def test_forms_of_plain_values(value: Any, described: Any) -> None:
    architecture: Any = model_nodes(FunctionTransformer(kw_args=value)).architecture.value
    assert architecture["params"]["kw_args"] == described


class Opaque:
    """Something nobody knows how to hash, though it looks like a sequence."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        return index

    def method(self) -> None:
        """Do nothing."""


class Own(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator of a user."""

    def __init__(self, setting: Any = None) -> None:
        self.setting = setting


class Forgetful(Own):
    """Keeps its weights to itself when it is saved."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Lying(Own):
    """Says that its weights are a parameter with another value."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"weights_": None}


class Failing(Own):
    """Has a parameter that the constructor did not keep."""

    def __init__(self, missing: Any = None) -> None:
        pass


class Slotted(Own):
    """Keeps a part of its state where `vars` does not look."""

    __slots__ = ("weights_",)


@pytest.mark.parametrize("cls", [Own, Forgetful, Lying])
def test_weights_of_a_users_class(cls: Any) -> None:
    model = cls()
    model.weights_ = np.arange(3)
    before = weights_node(model)
    model.weights_ = np.arange(3) + 1
    assert differences(before, weights_node(model)) == ["weights_"]


def test_unknown_attribute() -> None:
    model = make_pipeline(Own())
    model["own"].parts_ = {"a": [1, Opaque()]}
    with pytest.raises(UnsupportedTypeError, match=r"weights/steps/own/parts_/a/1: no digester for .*Opaque") as caught:
        weights_node(model)
    assert "register_digester" in str(caught.value.hint)


@pytest.mark.parametrize("value", [Opaque(), [Opaque()], {Opaque(): 1}, Opaque().method, partial(str, Opaque()), 1j])
def test_unknown_parameter(value: Any) -> None:
    with pytest.raises(UnsupportedTypeError, match="parameter steps: parameter setting: no digester for"):
        model_nodes(make_pipeline(Own(value)))


def test_failing_parameters() -> None:
    with pytest.raises(FormatError, match=r"weights: get_params of .*Failing cannot be read: AttributeError"):
        model_nodes(Failing())


def test_object_that_cannot_say_what_it_is_made_of() -> None:
    model = Own()
    model.builder_ = DepthFirstTreeBuilder(None, 2, 1, 0.0, 3, 0.0)
    with pytest.raises(UnsupportedTypeError, match=r"weights/builder_: no digester for sklearn\.tree"):
        weights_node(model)


def test_distribution_made_of_data() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"no digester for scipy\.stats"):
        model_nodes(Own({"C": rv_histogram(np.histogram([1.0, 2.0, 4.0]))()}))


def test_slots() -> None:
    model = Slotted()
    model.weights_ = 1
    with pytest.raises(FormatError, match=r"the state of .*Slotted cannot be read"):
        weights_node(model)


@pytest.mark.usefixtures("clean_registry")
def test_registered_types() -> None:
    register_digester(Opaque, lambda opaque, context: context.node(b"opaque", context.label))
    model = Own(Opaque())
    model.parts_ = [Opaque()]
    node = content_node(model)
    architecture: Any = node.child("architecture").value
    assert set(architecture["params"]["setting"]) == {"class", "digest"}
    assert node.child("weights").child("parts_").child("0").kind == "bytes"


@pytest.mark.usefixtures("clean_registry")
def test_registered_estimator_as_a_parameter() -> None:
    def digest(model: Any, context: Any) -> MerkleNode:
        node: MerkleNode = context.node(model.weights_, context.label)
        return node

    register_digester(Own, digest)
    one, other = Own(Opaque()), Own(Opaque())
    one.weights_, other.weights_ = np.arange(2), np.arange(3)
    assert content_node(make_pipeline(one)) != content_node(make_pipeline(other))


def test_objects_that_contain_themselves() -> None:
    def model() -> Any:
        own = Own()
        own.parts_ = [np.arange(2), own]
        return own

    node = weights_node(model())
    assert node.child("parts_").child("1").value == {"type": "above", "value": 2}
    assert node == weights_node(model()) == weights_node(copy.deepcopy(model()))
    assert content_node((1, model())).child("y").child("weights").children == node.children


def test_lists_that_contain_themselves() -> None:
    items: list[Any] = [1]
    items.append(items)
    own = Own(items)
    own.parts_ = items
    assert weights_node(own).child("parts_").child("1").value == {"type": "above", "value": 1}
    assert model_nodes(own).architecture.value == {
        "class": f"{__name__}.Own",
        "params": {"setting": [1, {"type": "above", "value": 1}]},
    }


def test_parameters_that_contain_themselves() -> None:
    own = Own()
    own.setting = [own]
    with pytest.raises(FormatError, match="contains itself"):
        model_nodes(own)


def test_mappings_with_other_keys() -> None:
    def weights(keys: Any) -> MerkleNode:
        own = Own()
        own.parts_ = {key: np.arange(2) + index for index, key in enumerate(keys)}
        return weights_node(own)

    numbers = weights([0, 1])
    assert [child.label for child in numbers.child("parts_").children] == ["keys", "values"]
    assert len({node.hash for node in (numbers, weights(["0", "1"]), weights([1, 0]), weights([(0,), 1]))}) == 4
    own, reverse = Own(), Own()
    own.parts_, reverse.parts_ = {1: np.arange(1), 2: 0}, {2: 0, 1: np.arange(1)}
    assert weights_node(own) == weights_node(reverse)


def test_unknown_key() -> None:
    own = Own()
    own.parts_ = {Opaque(): np.arange(2)}
    with pytest.raises(UnsupportedTypeError, match=r"weights/parts_: a key: no digester for .*Opaque"):
        weights_node(own)
