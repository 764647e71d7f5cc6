"""DCSM's parameters hang together: tables start from raw maps that are computed.

And raw maps from networks that are trained.
"""
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edited_params import DELETED, PARSED, edited

from lib.base.problem import Problem
from lib.papers.dcsm.settings import NOTEBOOKS, MapsImages, check_tier
from lib.params import load_params

NET = "efficientnet_lite0"   # trained in tier smoke
OTHER = "vgg16_conv"         # not trained there
ABLATIONS: tuple[str, ...] = ("dcsm_alpha", "dcsm_layers", "dcsm_scales", "dcsm_top_n", "dcsm_backprop")
FROM_MAPS = ("dcsm", "fcn_gbp")   # notebooks with a block of their own that read raw maps
IMAGES = {"val": 1, "test": 1, "ablations": 1}
SMOKE_TRAINING = PARSED["tier"]["smoke"]["dcsm_train"]["networks"][NET]
TRAINED = (f"tier.smoke.dcsm_train.networks.{OTHER}", SMOKE_TRAINING)
NET_MAPS = f"tier.smoke.dcsm_maps.networks.{NET}"
OTHER_MAPS = f"tier.smoke.dcsm_maps.networks.{OTHER}"


def fault(path: Path) -> str:
    with pytest.raises(Problem) as caught:
        load_params(path)
    text = str(caught.value)
    assert "\n" not in text and ". " not in text and text[-1] in ".?)", text
    return text


FAULTS = {
    "an unknown key": [
        ("dcsm_maps.candidate", 3,
         'dcsm_maps.candidate: there is no such parameter; did you mean "candidates"?'),
        ("dcsm.normalizer", "own",
         'dcsm.normalizer: there is no such parameter; did you mean "normaliser"?'),
        ("dcsm.crf.theta_gama", 3,
         'dcsm.crf.theta_gama: there is no such parameter; did you mean "theta_gamma"?'),
        ("fcn_gbp.zof.superpixel", 3,
         'fcn_gbp.zof.superpixel: there is no such parameter; did you mean "superpixels"?'),
        ("tier.smoke.dcsm_map", {},
         'tier.smoke.dcsm_map: there is no such parameter; did you mean "dcsm_maps"?'),
        (f"{NET_MAPS}.ablation", 3,
         f'{NET_MAPS}.ablation: there is no such parameter; did you mean "ablations"?'),
        ("tier.smoke.fcn_gbp.trainimages", 3,
         'tier.smoke.fcn_gbp.trainimages: there is no such parameter; did you mean "train_images"?'),
        ("tier.smoke.dcsm_backprop", {},
         "tier.smoke.dcsm_backprop: there is no such parameter"),
    ],
    "a wrong type or choice": [
        ("dcsm.reading", "papers",
         'dcsm.reading: "papers" is not a choice; did you mean "paper"?'),
        ("dcsm.normaliser", "mine",
         'dcsm.normaliser: "mine" is not a choice (known: own, joint, after)'),
        ("dcsm.blocks", ["block3", "block6"],
         'dcsm.blocks[1]: "block6" is not a choice; did you mean "block'),
        ("dcsm.blocks", "block3",
         'dcsm.blocks: must be a list with at least one entry, not "block3"'),
        ("dcsm_constants.readings", ["paper", "code"],
         'dcsm_constants.readings[1]: "code" is not a choice; did you mean "demo"?'),
        ("dcsm_layers.combinations", [345],
         "dcsm_layers.combinations[0]: must be a word, not 345"),
        ("dcsm_scales.combinations", [400, 500],
         "dcsm_scales.combinations[0]: must be a list with at least one entry, not 400"),
        ("dcsm_top_n.numbers", [],
         "dcsm_top_n.numbers: must be a list with at least one entry, not empty"),
        ("fcn_gbp.enhance", ["sum"],
         'fcn_gbp.enhance[0]: "sum" is not a choice (known: product, geometric)'),
        ("fcn_gbp.zof.balanced", 1,
         "fcn_gbp.zof.balanced: must be true or false, not 1"),
    ],
    "out of range": [
        ("dcsm.alpha", 0,
         "dcsm.alpha: 0.0 is out of range, it must be between 1e-06 and 1000"),
        ("dcsm.alpha", math.nan,
         "dcsm.alpha: nan is out of range"),
        ("dcsm.map_stride", 9,
         "dcsm.map_stride: 9 is out of range, it must be between 1 and 8"),
        ("dcsm_maps.threshold", 50,
         "dcsm_maps.threshold: 50.0 is out of range, it must be between 0 and 1"),
        ("dcsm_alpha.alphas", [1, 0],
         "dcsm_alpha.alphas[1]: 0.0 is out of range"),
        ("dcsm_top_n.numbers", [0, -1],
         "dcsm_top_n.numbers[1]: -1 is out of range, it must be between 0 and 1000"),
        ("tier.smoke.dcsm_maps.side", 63,
         "tier.smoke.dcsm_maps.side: 63 is out of range, it must be between 64 and 4096"),
        (f"{NET_MAPS}.test", 0,
         f"{NET_MAPS}.test: 0 is out of range, it must be at least 1"),
        ("tier.smoke.fcn_gbp.images", 0,
         "tier.smoke.fcn_gbp.images: 0 is out of range, it must be at least 1"),
    ],
    "missing": [
        ("dcsm_maps.wide", DELETED,
         "dcsm_maps.wide: the parameter is missing"),
        ("tier.smoke.dcsm", DELETED,
         "tier.smoke.dcsm: the parameter is missing"),
        (f"{NET_MAPS}.ablations", DELETED,
         f"{NET_MAPS}.ablations: the parameter is missing"),
    ],
    "what is not among the raw maps": [
        ("dcsm.scales", [400, 450],
         "dcsm.scales: 450 is not in dcsm_maps.scales (400, 500, 600), so it has no raw maps; "
         "choose one or add it there."),
        ("dcsm.scales", [300],   # it is among the others, for the ablations alone
         "dcsm.scales: 300 is not in dcsm_maps.scales (400, 500, 600)"),
        ("dcsm_maps.scales", [400, 500],
         "dcsm.scales: 600 is not in dcsm_maps.scales (400, 500)"),
        ("dcsm.blocks", ["block2", "block3"],
         "dcsm.blocks: block2 is not in dcsm_maps.blocks (block3, block4, block5)"),
        ("dcsm.candidates", 4,
         "dcsm.candidates: 4 is more than dcsm_maps.candidates, 3; lower it or raise that."),
        ("dcsm_maps.wide", 2,
         "dcsm_maps.candidates: 3 is more than dcsm_maps.wide, 2; lower it or raise that."),
        ("dcsm_top_n.numbers", [0, 16, 3],
         "dcsm_top_n.numbers: 16 is more than dcsm_maps.wide, 15; lower it or raise that."),
        ("dcsm_scales.combinations", [[400], [500, 550]],
         "dcsm_scales.combinations: 550 is not in dcsm_maps.scales and other_scales "
         "(400, 500, 600, 300, 700, 800)"),
        ("dcsm_layers.combinations", ["block345", "block6"],
         'dcsm_layers.combinations: "block6" must be block and digits from 1 to 5, as in block345.'),
        ("dcsm_layers.combinations", ["block"],
         'dcsm_layers.combinations: "block" must be block and digits'),
        ("dcsm_layers.combinations", ["block34 "],
         'dcsm_layers.combinations: "block34 " must be block and digits'),
        ("dcsm_layers.combinations", ["345"],
         'dcsm_layers.combinations: "345" must be block and digits'),
        ("dcsm_layers.combinations", ["block 3"],
         'dcsm_layers.combinations: "block 3" must be block and digits'),
        ("dcsm_maps.other_blocks", ["block2"],
         "dcsm_layers.combinations, block1: block1 is not in dcsm_maps.blocks and other_blocks "
         "(block3, block4, block5, block2)"),
        ("dcsm_constants.weights", [[1, 1], [1]],
         "dcsm_constants.weights: [1.0] must be a pair, bilateral and spatial."),
        ("dcsm_constants.weights", [[1, 2, 3]],
         "dcsm_constants.weights: [1.0, 2.0, 3.0] must be a pair"),
        ("dcsm_constants.kernels", [[30, 10], [60]],
         "dcsm_constants.kernels: [60.0] must be a pair, theta_alpha and theta_beta."),
    ],
    "data sets and networks": [
        ("tier.smoke.dcsm.saliency_dataset", "colage",
         'tier.smoke.dcsm: there is no data set "colage" in this tier; did you mean "collage"?'),
        ("tier.smoke.dcsm.saliency_dataset", "",
         'tier.smoke.dcsm: there is no data set "" in this tier'),
        ("tier.smoke.dcsm_maps.networks", {},
         "tier.smoke.dcsm_maps.networks: must name at least one network (known: efficientnet_lite0, "),
        ("tier.smoke.dcsm_maps.networks.efficientnet", IMAGES,
         'tier.smoke.dcsm_maps: there is no network "efficientnet"; did you mean "efficientnet_lite0"?'),
        (OTHER_MAPS, IMAGES,
         f'tier.smoke.dcsm_maps: "{OTHER}" is not trained in this tier; '
         "add it to tier.smoke.dcsm_train.networks."),
        ("tier.mirror.dcsm_maps.dataset", "pets",
         'tier.mirror.dcsm_maps.dataset: must be "voc", the data set of tier.mirror.dcsm_train, not "pets".'),
        ("tier.mirror.dcsm_train.dataset", "pets",
         'tier.mirror.dcsm_maps.dataset: must be "pets", the data set of tier.mirror.dcsm_train, not "voc".'),
    ],
}


@pytest.mark.parametrize("key, value, words", [case for cases in FAULTS.values() for case in cases])
def test_every_fault_names_the_key_and_the_way_out(tmp_path: Path, key: str, value: Any, words: str) -> None:
    assert fault(edited(tmp_path, key, value)).startswith(words)


@pytest.mark.parametrize("name", FROM_MAPS)
def test_a_notebook_needs_raw_maps_of_its_networks_and_its_data_set(tmp_path: Path, name: str) -> None:
    text = fault(edited(tmp_path, f"tier.smoke.{name}.networks", [NET, OTHER]))
    assert text == (f'tier.smoke.{name}: "{OTHER}" is not given raw maps in this tier; '
                    "add it to tier.smoke.dcsm_maps.networks.")
    text = fault(edited(tmp_path, f"tier.mirror.{name}.dataset", "pets"))
    assert text == (f'tier.mirror.{name}.dataset: must be "voc", the data set of tier.mirror.dcsm_maps, '
                    'not "pets".')


def test_every_notebook_without_a_block_is_tested_here() -> None:
    assert set(NOTEBOOKS) == {"dcsm", "dcsm_constants", *ABLATIONS}


def test_constants_are_chosen_on_whatever_has_raw_maps(tmp_path: Path) -> None:
    maps = (OTHER_MAPS, IMAGES | {"ablations": 0})
    tier = load_params(edited(tmp_path, *TRAINED, maps)).tier["smoke"]
    assert (tier.dcsm_constants.dataset, tier.dcsm_constants.networks) == ("collage", [NET, OTHER])


@pytest.mark.parametrize("name", ABLATIONS)
@pytest.mark.parametrize("images, expected", [(0, [NET]), (1, [NET, OTHER]), (None, [NET, OTHER])])
def test_an_ablation_runs_on_the_networks_with_images_for_it(tmp_path: Path, name: str, images: int | None,
                                                             expected: list[str]) -> None:
    """The second network has raw maps, but perhaps not the further ones."""
    maps = (OTHER_MAPS, IMAGES | {"ablations": images})
    run = getattr(load_params(edited(tmp_path, *TRAINED, maps)).tier["smoke"], name)
    assert (run.dataset, run.networks) == ("collage", expected)


def test_ablations_need_images_of_one_network() -> None:
    params = load_params()
    tier = params.tier["smoke"]
    maps = replace(tier.dcsm_maps, networks={NET: MapsImages(val=1, test=1, ablations=0)})
    with pytest.raises(Problem) as caught:
        check_tier("smoke", replace(tier, dcsm_maps=maps), params)
    assert str(caught.value) == ("tier.smoke.dcsm_maps.networks: no network has images for the ablations; "
                                 "raise ablations of one.")


@pytest.mark.parametrize("key, value", [
    ("dcsm.scales", [500]),
    ("dcsm.blocks", ["block5"]),
    ("dcsm.candidates", 0),
    ("dcsm_maps.wide", 20),
    ("dcsm_top_n.numbers", [15]),
    ("dcsm_layers.combinations", ["block35", "block12345"]),
    ("dcsm_scales.combinations", [[300, 800]]),
    ("dcsm_constants.weights", [[0, 1.5]]),
    ("tier.mirror.dcsm.saliency_dataset", "pets"),
    (f"{NET_MAPS}.test", None),
    ("tier.smoke.fcn_gbp.images", None),
])
def test_valid_edits(tmp_path: Path, key: str, value: Any) -> None:
    load_params(edited(tmp_path, key, value))
