from __future__ import annotations

import pytest

from mlstack.serving.messages import Request, Response
from mlstack.serving.routes import Route, Routes


async def nothing(request: Request, names: dict[str, str]) -> Response:
    return Response()


@pytest.fixture
def routes() -> Routes:
    patterns = ("/predict", "/v1/models/{name}/predict", "/models/{name}", "/models/{name}/versions/{version}", "/a.b")
    return Routes([*(Route("POST", one, nothing) for one in patterns), Route("GET", "/models/{name}", nothing)])


def test_a_plain_address_is_found_with_its_methods(routes: Routes) -> None:
    found = routes.find("/predict")
    assert found is not None
    assert (list(found[0]), found[1]) == (["POST"], {})


def test_what_stands_at_a_name_is_told(routes: Routes) -> None:
    found = routes.find("/models/cats/versions/2.1")
    assert found is not None
    assert found[1] == {"name": "cats", "version": "2.1"}
    found = routes.find("/v1/models/кот é/predict")
    assert found is not None
    assert found[1] == {"name": "кот é"}


def test_one_address_may_take_several_methods(routes: Routes) -> None:
    found = routes.find("/models/cats")
    assert found is not None
    assert sorted(found[0]) == ["GET", "POST"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/",
        "predict",
        "/predict/",
        "/Predict",
        "/models/",
        "/models//versions/1",
        "/models/a/b",
        "/aXb",
        "//a.b",
    ],
)
def test_anything_else_is_nowhere(routes: Routes, path: str) -> None:
    assert routes.find(path) is None


def test_a_name_is_one_part_of_the_address_whatever_is_in_it(routes: Routes) -> None:
    found = routes.find("/models/a\nb%{x}\\")
    assert found is not None
    assert found[1] == {"name": "a\nb%{x}\\"}
