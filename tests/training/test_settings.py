"""How networks are trained is checked before anything starts: each fault names its key and the way out."""
from pathlib import Path
from typing import Any

import pytest
from edited_params import DELETED, PARSED, edited

from lib.base.problem import Problem
from lib.params import TIERS, load_params


@pytest.mark.parametrize("tier", TIERS)
def test_shipped_trainings_can_start(tier: str) -> None:
    """Each ratio range is a range, views come with a frozen part, and something is trained at all."""
    block = load_params().tier[tier]
    assert block.dcsm_train.dataset in block.data and block.dcsm_train.networks
    for settings in block.dcsm_train.networks.values():
        low, high = settings.ratios
        assert (
            low <= 1 <= high
            and (settings.frozen or not settings.views)
            and settings.head_epochs + settings.epochs > 0
        )
        assert type(settings.rate) is type(settings.head_rate) is type(settings.weight_decay) is float


TRAINED = {tier: next(iter(PARSED["tier"][tier]["dcsm_train"]["networks"])) for tier in TIERS}
WIDE = PARSED["tier"]["smoke"]["dcsm_train"]["networks"][TRAINED["smoke"]]


EVERYWHERE = [
    ("dataset_", "x", '{where}.dataset_: there is no such parameter; did you mean "dataset"?'),
    (
        "networks.{net}.epoch",
        1,
        '{where}.networks.{net}.epoch: there is no such parameter; did you mean "epochs"?',
    ),
    ("networks.vgg16_con", WIDE, '{where}: there is no network "vgg16_con"; did you mean "vgg16_conv"?'),
    ("dataset", "msra_b", '{where}: there is no data set "msra_b" in this tier'),
]
ONCE = [
    # an unknown key, at every depth
    ("network", {}, '{where}.network: there is no such parameter; did you mean "networks"?'),
    (
        "networks.{net}.head_rates",
        1,
        '{where}.networks.{net}.head_rates: there is no such parameter; did you mean "head_rate"?',
    ),
    (
        "networks.{net}.quux",
        1,
        "{where}.networks.{net}.quux: there is no such parameter (known: side, ratios, batch",
    ),
    # a wrong type or choice, out of range
    ("networks.{net}", 3, "{where}.networks.{net}: must be a mapping with the keys side, ratios"),
    ("networks", [1], "{where}.networks: must be a mapping, not [1]"),
    ("networks.{net}.side", "224", '{where}.networks.{net}.side: must be a whole number, not "224"'),
    (
        "networks.{net}.side",
        63,
        "{where}.networks.{net}.side: 63 is out of range, it must be between 64 and 2048",
    ),
    (
        "networks.{net}.ratios",
        [0.7, 4.5],
        "{where}.networks.{net}.ratios[1]: 4.5 is out of range, it must be between 0.1 and 4",
    ),
    (
        "networks.{net}.ratios",
        1.0,
        "{where}.networks.{net}.ratios: must be a list with at least one entry, not 1.0",
    ),
    ("networks.{net}.batch", 0, "{where}.networks.{net}.batch: 0 is out of range"),
    (
        "networks.{net}.dropout",
        1,
        "{where}.networks.{net}.dropout: 1.0 is out of range, it must be between 0 and 0.95",
    ),
    ("networks.{net}.frozen", 23, "{where}.networks.{net}.frozen: must be a word, not 23"),
    ("networks.{net}.views", True, "{where}.networks.{net}.views: must be a whole number, not True"),
    (
        "networks.{net}.optimiser",
        "adam",
        '{where}.networks.{net}.optimiser: "adam" is not a choice; did you mean "adamw"?',
    ),
    ("networks.{net}.epochs", -1, "{where}.networks.{net}.epochs: -1 is out of range"),
    ("networks.{net}.rate", 0, "{where}.networks.{net}.rate: 0.0 is out of range"),
    # missing
    ("networks", DELETED, "{where}.networks: the parameter is missing"),
    ("networks.{net}.side", DELETED, "{where}.networks.{net}.side: the parameter is missing"),
    ("dataset", "", '{where}: there is no data set "" in this tier'),
]


@pytest.mark.parametrize(
    "tier, key, value, words",
    [*((tier, *fault) for tier in TIERS for fault in EVERYWHERE), *(("smoke", *fault) for fault in ONCE)],
)
def test_faults_of_trainings(tmp_path: Path, tier: str, key: str, value: Any, words: str) -> None:
    names = {"where": f"tier.{tier}.dcsm_train", "net": TRAINED[tier]}
    with pytest.raises(Problem) as caught:
        load_params(edited(tmp_path, f"tier.{tier}.dcsm_train.{key.format(**names)}", value))
    assert str(caught.value).startswith(words.format(**names)) and "\n" not in str(caught.value), str(
        caught.value
    )


@pytest.mark.parametrize(
    "tier, dataset, near",
    [
        ("smoke", "voc", "known: collage"),
        ("collage", "colage", 'did you mean "collage"?'),
        ("mirror", "collage", "known: voc, pascal_s"),
        ("mirror", "voc2012", 'did you mean "voc"?'),
        ("paper", "voc", 'did you mean "voc2012"?'),
    ],
)
def test_a_training_s_data_set_is_the_tier_s(tmp_path: Path, tier: str, dataset: str, near: str) -> None:
    with pytest.raises(
        Problem, match=f'^tier.{tier}.dcsm_train: there is no data set "{dataset}" in this tier'
    ) as caught:
        load_params(edited(tmp_path, f"tier.{tier}.dcsm_train.dataset", dataset))
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("networks", {}, ".networks: must name at least one network (known: efficientnet_lite0, "),
        ("networks.{net}.ratios", [1.0], ".networks.{net}.ratios: [1.0] must be a pair"),
        (
            "networks.{net}.ratios",
            [1.4, 0.7],
            ".networks.{net}.ratios: [1.4, 0.7] must be a pair, the lowest and the highest",
        ),
        ("networks.{net}.ratios", [0.7, 1.0, 1.4], ".networks.{net}.ratios: [0.7, 1.0, 1.4] must be a pair"),
        (
            "networks.{net}.views",
            2,
            ".networks.{net}.views: only what a frozen part has seen can be cached; "
            'name its last module as "frozen"',
        ),
    ],
)
def test_trainings_that_cannot_start_are_refused_early(
    tmp_path: Path, key: str, value: Any, words: str
) -> None:
    net = TRAINED["smoke"]
    with pytest.raises(Problem) as caught:
        load_params(edited(tmp_path, f"tier.smoke.dcsm_train.{key.format(net=net)}", value))
    assert str(caught.value).startswith("tier.smoke.dcsm_train" + words.format(net=net)) and "\n" not in str(
        caught.value
    )


def test_one_ratio_is_a_range_too(tmp_path: Path) -> None:
    load_params(edited(tmp_path, f"tier.smoke.dcsm_train.networks.{TRAINED['smoke']}.ratios", [1, 1]))
