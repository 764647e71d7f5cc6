"""CSoA's parameters hang together: notebooks start from networks that are trained, trials from constants."""
from pathlib import Path
from typing import Any

import pytest
from edited_params import PARSED, edited

from lib.base.problem import Problem
from lib.papers.csoa import settings
from lib.papers.csoa.settings import constants_of
from lib.params import NOTEBOOKS, STAGES, TIERS, load_params

RUN = "tier.smoke.csoa_train.runs.collage_single.efficientnet_lite0"


@pytest.mark.parametrize("tier", TIERS)
def test_shipped_runs_have_what_claims_need(tier: str) -> None:
    block = load_params().tier[tier]
    run = block.csoa_train.runs[block.csoa.dataset][block.csoa.networks[0]]
    assert set(run.variants) == {"base", "confseg", "coaug", "csoa"}
    assert tier == "smoke" or len(run.seeds) >= 3
    batch = run.training.batch
    assert batch // min(run.training.batch_classes, batch) >= 2


def test_training_is_a_stage_and_the_tables_are_notebooks() -> None:
    assert set(settings.NOTEBOOKS) <= set(NOTEBOOKS)
    assert "csoa_train" in STAGES
    assert "csoa_train" not in NOTEBOOKS


def test_every_trial_changes_something() -> None:
    params = load_params()
    constants = constants_of(params.csoa, params.csoa_trials)
    assert list(constants) == ["", *params.csoa_trials]
    assert all(constants[name] != params.csoa for name in params.csoa_trials)


COLLAGE_RUNS = PARSED["tier"]["smoke"]["csoa_train"]["runs"]["collage_single"]
FAULTS = [
    ("csoa.gama", 1, 'csoa.gama: there is no such parameter; did you mean "gamma"?'),
    ("csoa.inner", "men", 'csoa.inner: "men" is not a choice; did you mean "mean"?'),
    ("csoa.alpha", 1.5, "csoa.alpha: 1.5 is out of range"),
    ("csoa_trials.other", {"gama": 1},
     'csoa_trials.other.gama: there is no such parameter; did you mean "gamma"?'),
    ("csoa_trials.other", {"gamma": "much"}, "csoa_trials.other.gamma: must be a number"),
    ("csoa_thresholds.tried", [0.2, 0.4], "csoa_thresholds.tried: lacks 0.3, the paper's own threshold"),
    ("csoa_thresholds.tried", [0.2, 1.5], "csoa_thresholds.tried[1]: 1.5 is out of range"),
    (f"{RUN}.trials", ["inner_sums"],
     f'{RUN}.trials: there is no "inner_sums" under csoa_trials; did you mean "inner_sum"?'),
    (f"{RUN}.seeds", [], f"{RUN}.seeds: must"),
    (f"{RUN}.variants", ["bas"], f'{RUN}.variants[0]: "bas" is not a choice; did you mean "base"?'),
    (f"{RUN}.positions", ["2-5"], f'{RUN}.positions[0]: "2-5" is not a choice'),
    (f"{RUN}.positions", None, "tier.smoke.csoa_train.runs.collage_single: no network has positions"),
    (f"{RUN}.training.frozen", 6, f"{RUN}.training.frozen: 6 is out of range"),
    ("tier.smoke.csoa.dataset", "collage", "tier.smoke.csoa: nothing is trained on collage in this tier"),
    ("tier.smoke.csoa.others", ["collage"],
     "tier.smoke.csoa: nothing is trained on collage in this tier; add it to tier.smoke.csoa_train.runs."),
    ("tier.smoke.csoa.networks", ["vgg16_conv"],
     'tier.smoke.csoa: "vgg16_conv" is not trained on collage_single in this tier'),
    ("tier.smoke.csoa_train.runs.collages", COLLAGE_RUNS,
     'tier.smoke.csoa_train: there is no data set "collages" in this tier; did you mean "collage"?'),
]


@pytest.mark.parametrize("key, value, words", FAULTS)
def test_faults_are_named(tmp_path: Path, key: str, value: Any, words: str) -> None:
    with pytest.raises(Problem) as caught:
        load_params(edited(tmp_path, key, value))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
