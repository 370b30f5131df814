"""The addresses below /v2: the Open Inference Protocol over the same models, queue and limits as the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.session import FEATURES
from mlstack.serving.answers import json_response
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.input_problems import quoted
from mlstack.serving.messages import Request, Response
from mlstack.serving.open_inference import (
    InferRequest,
    answer_infer,
    json_length,
    live_body,
    model_metadata,
    parse_infer,
    ready_body,
    server_metadata,
)
from mlstack.serving.predicting import MODEL_HEADER, Predictor
from mlstack.serving.problems import not_found, not_ready
from mlstack.serving.routes import Route
from mlstack.serving.served_model import ServedModel


@dataclass
class OpenInference:
    """The handlers of /v2; they address models by name, so that no experiment chooses."""

    catalogue: Catalogue
    predictor: Predictor
    is_ready: Callable[[], bool]

    def routes(self) -> list[Route]:
        """Its addresses."""
        routes = [
            Route("GET", "/v2", self.server),
            Route("GET", "/v2/health/live", self.live, open=True),
            Route("GET", "/v2/health/ready", self.ready, open=True),
        ]
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            routes += [
                Route("GET", model, self.model),
                Route("GET", f"{model}/ready", self.model_ready),
                Route("POST", f"{model}/infer", self.infer, predicts=True),
            ]
        return routes

    async def server(self, request: Request, names: dict[str, str]) -> Response:
        """Name, version and extensions of the server."""
        return json_response(server_metadata())

    async def live(self, request: Request, names: dict[str, str]) -> Response:
        """As /health."""
        return json_response(live_body())

    async def ready(self, request: Request, names: dict[str, str]) -> Response:
        """As /ready."""
        if not self.is_ready():
            raise not_ready("no model is loaded, or the service is ending")
        return json_response(ready_body(ready=True))

    async def model(self, request: Request, names: dict[str, str]) -> Response:
        """Inputs and outputs of a model."""
        model = self._version(names)
        return json_response(model_metadata(model.metadata, name=model.label))

    async def model_ready(self, request: Request, names: dict[str, str]) -> Response:
        """Whether a model takes requests."""
        label = self._version(names).label
        if not self.is_ready():
            raise not_ready("the service is ending")
        return json_response(ready_body(ready=True, name=label))

    async def infer(self, request: Request, names: dict[str, str]) -> Response:
        """Answer for the pictures of a request."""
        label, head = self._version(names).label, request.head
        async with self.predictor.model(label, head) as model:
            metadata, limit = model.metadata, self.predictor.settings.max_images
            length = json_length(head.headers)
            parsed: list[InferRequest] = []

            def read() -> NDArray[np.uint8] | list[bytes]:
                body, picture = request.body, model.picture
                parsed.append(parse_infer(body, length, picture, output=metadata.output, max_images=limit))
                return parsed[0].images

            answer = (await self.predictor.ask(model, head, read, len(request.body))).answer
            response = answer_infer(
                parsed[0],
                model=model.label,
                version=metadata.version,
                request_id=head.id,
                answers={metadata.output: answer.output, FEATURES: answer.features},
            )
            response.headers = (*response.headers, (MODEL_HEADER, model.label))
            return response

    def _version(self, names: dict[str, str]) -> ServedModel:
        model = self.catalogue.get(names["name"])
        wanted = names.get("version")
        if wanted is not None and wanted != model.metadata.version:
            raise not_found(f"{model.label} is served in version {model.metadata.version}, not {quoted(wanted)}")
        return model
