"""Data frames, pipelines and groups of features from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import bilevel
from bilevel import LogisticRegressionTuned, SourceColumns, column_groups

pd = pytest.importorskip("pandas")


def columns() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "hours"]),
            ("categories", OneHotEncoder(sparse_output=False), ["work", "town"]),
        ]
    )


def test_names_of_pandas_and_polars(heart: Any) -> None:
    names = [f"feature {j}" for j in range(13)]
    frame = pd.DataFrame(heart.data, columns=names)
    model = LogisticRegressionTuned(penalties="per-feature").fit(frame, pd.Series(heart.target))
    assert list(model.feature_names_in_) == list(model.hyperparameter_names_) == names
    plain = LogisticRegressionTuned(penalties="per-feature").fit(heart.data, heart.target)
    assert (model.coef_ == plain.coef_).all()
    polars = pytest.importorskip("polars")
    other = polars.DataFrame(frame.to_numpy(), schema=names)
    again = LogisticRegressionTuned(penalties="per-feature").fit(other, polars.Series(heart.target))
    assert list(again.feature_names_in_) == names
    assert (again.coef_ == plain.coef_).all()
    assert (again.predict(other) == plain.predict(heart.data)).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={names[0]: "another"}))


def test_groups_from_a_fitted_transformer(table: Any) -> None:
    frame, y = table
    transformer = columns().fit(frame)
    groups = column_groups(transformer)
    assert groups == ["age", "hours"] + ["work"] * 3 + ["town"] * 12
    model = LogisticRegressionTuned(penalties="per-group", groups=groups).fit(transformer.transform(frame), y)
    assert list(model.hyperparameter_names_) == ["age", "hours", "work", "town"]
    with pytest.raises(ValueError, match="data frame"):
        column_groups(columns().fit(frame).named_transformers_["numbers"].fit(np.zeros((3, 1))))


def test_groups_by_name_within_a_pipeline(table: Any) -> None:
    frame, y = table
    model = LogisticRegressionTuned(penalties="per-group", groups=SourceColumns(frame.columns))
    pipeline = make_pipeline(columns().set_output(transform="pandas"), model).fit(frame, y)
    assert list(pipeline[-1].hyperparameter_names_) == ["age", "hours", "work", "town"]
    scores = cross_val_score(pipeline, frame, y, cv=3)
    assert scores.mean() > 0.6
    same = LogisticRegressionTuned(penalties="per-group", groups=column_groups(pipeline[0]))
    same.fit(pipeline[0].transform(frame), y)
    assert (same.coef_ == pipeline[-1].coef_).all()


def test_groups_of_the_encoder_of_the_library() -> None:
    adult = bilevel.datasets.load("adult")
    assert adult.data.shape[0] == 32561
    X, y = adult.data[:1500], adult.target[:1500]
    frame = pd.DataFrame(X.toarray() if hasattr(X, "toarray") else X, columns=adult.feature_names)
    model = LogisticRegressionTuned(penalties="per-group").fit(frame, y)
    assert list(model.hyperparameter_names_) == list(dict.fromkeys(adult.groups))
    given = LogisticRegressionTuned(penalties="per-group", groups=adult.groups).fit(frame.to_numpy(), y)
    assert (given.coef_ == model.coef_).all()
