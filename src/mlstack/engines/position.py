"""How much a run has to do, and where it is, as a checkpoint tells it.

A run goes on at (epoch, batch): its loader starts the epoch with that batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mlstack.errors import HardwareError, RunError


@dataclass(frozen=True)
class Plan:
    """How much there is to do.

    Attributes:
        total_steps: Optimizer steps of the whole run.
        batches: Training batches an epoch, on each rank.
        images: Training images an epoch, over all ranks.
        global_sizes: Images of each of those batches, over all ranks.
    """

    total_steps: int
    batches: int
    images: int
    global_sizes: tuple[int, ...]

    def share(self, images: int, batch: int, *, world_size: int) -> float:
        """What a rank's mean loss counts: more than 1 where it has more of the global batch than others.

        Ranks average their gradients with equal weights, and the last batches of an epoch may be of unequal size.

        Args:
            images: This rank's of the batch.
            batch: Its number within the epoch, from 0.
            world_size: How many ranks there are.
        """
        return images * world_size / self.global_sizes[batch]


@dataclass
class Position:
    """What has been done so far.

    Attributes:
        epoch: The epoch that is going on, from 0.
        batches: Training batches of it that are done, on each rank.
        step: Optimizer steps since the beginning.
        stopped: Whether early stopping has ended the run.
        metrics_bytes: Length of metrics.csv.
        seconds: Wall time of training.
        cpu_seconds: CPU time of the process that writes.
        world_size: Processes that shared the work; 0 before the first checkpoint.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    stopped: bool = False
    metrics_bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    world_size: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> Position:
        """The position that a checkpoint was written at.

        Raises:
            KeyError: It is none of this project's.
        """
        state = content["position"]
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    def check_world_size(self, world_size: int) -> None:
        """HardwareError where other processes go on than those that have counted the batches so far."""
        if self.world_size not in (0, world_size):
            raise HardwareError(
                f"this run was trained by {self.world_size} processes, and {world_size} would go on with it",
                hint=f"start it with as many as before (with a launcher: --nproc_per_node {self.world_size})\n"
                "or start a new run from its weights: init_from=<run folder>",
            )

    def check_shared(self, places: Sequence[tuple[int, int]]) -> None:
        """RunError where processes go on from other places than this one: they have read other checkpoints.

        Args:
            places: `place` of every process, by rank.
        """
        others = [f"rank {rank} at {place}" for rank, place in enumerate(places) if tuple(place) != self.place]
        if others:
            raise RunError(
                f"the processes of this run see different checkpoints: (epoch, batch) {self.place} here, {others[0]}",
                hint="output_dir has to be one folder that all machines share\n"
                "a network folder may show an old state for seconds: mount it with actimeo=1, and start again",
            )

    def seed(self, seed: int, *, rank: int) -> int:
        """Of what the coming batch draws on a rank: 0 to 2³² - 1, a function of the run's seed and the place."""
        return hash((seed, self.epoch, self.batches, rank)) & 0xFFFFFFFF

    @property
    def place(self) -> tuple[int, int]:
        """What orders two positions of one run."""
        return self.epoch, self.batches
