"""The schema of the two validation stages: stage 1 in the virtual environment, stage 2 in containers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.keys import key

STAGES = ("models", "venv", "docker")
PROFILES = ("quick", "full")


@dataclass
class VenvStageConfig:
    """Stage 1: what training in the virtual environment has to keep."""

    min_gpu_utilization: float = key(0.9, "Least share of the training time that the GPU is busy", minimum=0, maximum=1)
    max_gpu_memory: float = key(0.8, "Greatest share of the GPU's memory in use at any time", above=0, maximum=1)
    max_seconds: float = key(120.0, "Most time for training one epoch, imports included", unit="seconds", above=0)
    min_data_efficiency: float = key(
        0.9, "Least speed, relative to the same run on pictures that are in memory already", minimum=0
    )
    batch_size: int | None = key(None, "Images a step; null = as in training, digits on a GPU: 256", minimum=1)
    image_size: int | None = key(
        None, "Height and width of the input; null = as in training, digits on a GPU: 64", unit="pixels", minimum=1
    )


@dataclass
class DockerStageConfig:
    """Stage 2: what is built and run in containers, and what it has to keep."""

    program: str = key("auto", "Container program; auto = docker, else podman", choices=("auto", "docker", "podman"))
    build: bool = key(True, "Build both images first; false = take those that are there")
    serve_image: str = key("ml-serve:latest", "Name of the image that serves")
    train_image: str = key("ml-cpu:latest", "Name of the image that trains")
    build_args: dict[str, Any] = key({}, "Build arguments of deploy/cpu/Dockerfile, {PYTHON_IMAGE:…,PIP_INDEX_URL:…}")
    build_network: str = key("default", "Network of the build; host where only the host reaches the package index")
    memory: str = key("2g", "Memory that the training container gets, as docker run --memory writes it")
    cpus: float | None = key(None, "Cores that the training container gets; null = all of this machine's", above=0)
    max_memory_mb: float = key(2048.0, "Most memory that training may take", unit="MiB", above=0)
    min_cpu_share: float = key(0.8, "Least use of the granted cores while training", minimum=0, maximum=1)
    max_epoch_minutes: float = key(45.0, "Longest epoch", unit="minutes", above=0)
    max_start_seconds: float = key(5.0, "Longest time from docker run to the first answer", unit="seconds", above=0)
    max_serve_image_mb: float = key(200.0, "Largest image that serves, uncompressed", unit="MB", above=0)
    max_serve_memory_mb: float = key(512.0, "Most memory of the service while it answers", unit="MiB", above=0)
