"""Models of other libraries for tables, with their defaults, each given what it takes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.real_tables import RealTable

TEXTS = make_column_selector(dtype_include=object)
NUMBERS = make_column_selector(dtype_exclude=object)
STOPPED_EARLY = {"early_stopping": True, "max_iter": 300, "random_state": 0}


def one_hot() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((numbers, NUMBERS), (texts, TEXTS))


def codes() -> ColumnTransformer:
    texts = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    return make_column_transformer(("passthrough", NUMBERS), (texts, TEXTS))


class Categories:
    """Makes texts pandas' categories, which LightGBM takes."""

    def fit(self, frame: pd.DataFrame, target: object = None) -> "Categories":
        self.kinds = {
            name: pd.CategoricalDtype(sorted(frame[name].dropna().unique()))
            for name in TEXTS(frame)
        }
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype(self.kinds)


class Filled:
    """Fills missing texts, which CatBoost does not take."""

    def fit(self, frame: pd.DataFrame, target: object = None) -> "Filled":
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.fillna(dict.fromkeys(TEXTS(frame), "?"))


def linear(table: RealTable) -> Pipeline:
    model = LogisticRegression(max_iter=2000) if table.is_classification else Ridge()
    return make_pipeline(one_hot(), model)


def mlp(table: RealTable) -> Pipeline:
    if table.is_classification:
        return make_pipeline(one_hot(), MLPClassifier(**STOPPED_EARLY))
    scaled = TransformedTargetRegressor(MLPRegressor(**STOPPED_EARLY), transformer=StandardScaler())
    return make_pipeline(one_hot(), scaled)


def hgb(table: RealTable) -> Pipeline:
    kinds = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
    return make_pipeline(codes(), kinds[table.is_classification](random_state=0))


def lightgbm(table: RealTable) -> Pipeline:
    kinds = (LGBMRegressor, LGBMClassifier)
    model = kinds[table.is_classification](verbose=-1, random_state=0, n_jobs=1)
    return make_pipeline(Categories(), model)


def catboost(table: RealTable) -> Pipeline:
    kinds = (CatBoostRegressor, CatBoostClassifier)
    model = kinds[table.is_classification](
        iterations=500,
        cat_features=TEXTS(table.split("train")[0]),
        random_seed=0,
        thread_count=1,
        verbose=0,
        allow_writing_files=False,
    )
    return make_pipeline(Filled(), model)


PEERS: Mapping[str, Callable[[RealTable], Pipeline]] = {
    "ridge or logistic regression": linear,
    "scikit-learn's MLP": mlp,
    "scikit-learn's HGB": hgb,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
}


def test_error(table: RealTable, model: Any) -> float:
    """Fit `model` and return its error on the test rows: the root of the mean squared error, or
    the log loss."""
    model.fit(*table.split("train"))
    inputs, actual = table.split("test")
    if table.is_classification:
        return float(log_loss(actual, model.predict_proba(inputs), labels=model.classes_))
    return float(np.sqrt(np.mean((model.predict(inputs) - actual) ** 2)))
