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


def test_columns_with_two_underscores_in_their_names() -> None:
    assert SourceColumns(["a__b", "b"])(["a__b", "num__a__b", "num__b", "b"]) == ["a__b", "a__b", "b", "b"]
    frame = pd.DataFrame({"user__town": ["Rome", "Oslo", "x__y"], "town": ["Bonn", "Riga", "Bonn"]})
    of_both = ["user__town"] * 3 + ["town"] * 2
    encoder = OneHotEncoder(sparse_output=False)
    assert column_groups(encoder.fit(frame)) == of_both
    assert column_groups(encoder.fit(frame[["user__town"]])) == ["user__town"] * 3
    for verbose in (False, True):
        parts = ColumnTransformer([("town", encoder, list(frame))], verbose_feature_names_out=verbose)
        assert column_groups(parts.fit(frame)) == of_both
    # The name of a transformer may begin as that of a column.
    assert SourceColumns(["work", "town"])(["work_codes__town_Rome", "work__town"]) == ["town", "town"]


def test_a_series_gives_groups_by_name(heart: Any) -> None:
    names = [f"feature {j}" for j in range(13)]
    frame = pd.DataFrame(heart.data, columns=names)
    groups = pd.Series({name: "first" if j < 4 else "other" for j, name in enumerate(names)})[::-1]
    model = LogisticRegressionTuned(penalties="per-group", groups=groups).fit(frame, heart.target)
    same = LogisticRegressionTuned(penalties="per-group", groups=groups.to_dict()).fit(frame, heart.target)
    assert list(model.hyperparameter_names_) == ["first", "other"] and (model.coef_ == same.coef_).all()
    by_place = LogisticRegressionTuned(penalties="per-group", groups=pd.Series(list(groups[::-1])))
    assert (by_place.fit(heart.data, heart.target).coef_ == same.coef_).all()


def test_studies_know_the_names_of_frames(heart: Any) -> None:
    names = [f"feature {j}" for j in range(13)]
    frame, y = pd.DataFrame(heart.data, columns=names), heart.target
    groups = {name: "first" if j < 4 else "other" for j, name in enumerate(names)}
    about: Any = {"at": 0.1, "penalties": "per-group", "methods": "aid-fp", "max_epochs": 5}
    curves = bilevel.study(frame, y, groups=groups, **about)
    assert len(curves.attrs["hypergradient"]) == 2
    same = bilevel.study(heart.data, y, groups=list(groups.values()), **about)
    assert (curves["mse"] == same["mse"]).all()
    with pytest.raises(ValueError, match="X_val has other feature names"):
        bilevel.study(frame, y, X_val=frame[names[::-1]], y_val=y, **about)


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
