"""The settings of checkpoints: whether the state of kernels is stored, and how much of it."""

from pydantic import Field
from pydantic_settings import BaseSettings

from sandbox_pool.checkpoint import StateLimits

__all__ = ["CheckpointSettings"]

MB = 1024 * 1024


class CheckpointSettings(BaseSettings):
    """The part of `Settings` with checkpoints."""

    checkpoint: bool = Field(
        default=True, description="Whether the state of kernels is stored after each answer, and comes back later."
    )
    checkpoint_mb: int = Field(default=1024, ge=1, description="The most of one checkpoint; what is left is named.")
    checkpoint_value_mb: int = Field(
        default=256, ge=1, description="The most of one value, with what it shares, in a checkpoint."
    )
    checkpoint_s: float = Field(default=30.0, gt=0, description="How long a checkpoint may take.")
    checkpoint_keep: int = Field(default=20, ge=1, description="Checkpoints of one conversation; older ones go.")
    checkpoint_days: float = Field(
        default=30.0, gt=0, description="How long they are kept; a conversation's newest stays longer."
    )

    checkpoint_replay_s: float = Field(
        default=5.0,
        ge=0,
        description="What cannot be saved is made again by running the conversation's blocks of code again, if they"
        " took no longer than this in all; 0: never.",
    )

    @property
    def checkpoints_kept(self) -> int:
        """How many checkpoints of one conversation are kept; 0: none are taken."""
        return self.checkpoint_keep if self.checkpoint else 0

    @property
    def state_limits(self) -> StateLimits:
        """The limits of one checkpoint."""
        return StateLimits(
            group_bytes=self.checkpoint_value_mb * MB,
            total_bytes=self.checkpoint_mb * MB,
            group_s=self.checkpoint_s,
            deadline_s=self.checkpoint_s,
        )
