"""Which networks a run of CSoA trains; free of torch."""
from dataclasses import dataclass

from lib.papers.csoa_settings import CsoaRun, Position, Variant

POSITION: Position = "4-5"   # the paper's, of table 1


@dataclass(frozen=True)
class Job:
    """One network to train; a trial has constants of its own."""
    variant: Variant
    position: Position
    seed: int
    trial: str = ""

    @property
    def name(self) -> str:
        return "_".join([self.variant, self.position, f"seed{self.seed}"] + [self.trial] * bool(self.trial))


def jobs(run: CsoaRun) -> list[Job]:
    """Everything, seed by seed, so that an interrupted run has whole rows; trials last."""
    found = [job for seed in run.seeds for job in
             [Job(variant, POSITION, seed) for variant in run.variants] + [Job("csoa", position, seed) for position in run.positions or ()]]
    return list(dict.fromkeys(found + [Job("csoa", POSITION, run.seeds[0], trial) for trial in run.trials or ()]))
