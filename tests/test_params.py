"""params.yaml is checked completely before anything starts: each fault names its key and the way out."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from edited_params import DELETED, PARSED, edited

from lib.base.problem import Problem
from lib.params import NOTEBOOKS, TIERS, load_params


def test_shipped_parameters_are_valid() -> None:
    params = load_params()
    assert set(params.tier) == set(TIERS)
    assert set(params.tiers) <= set(TIERS)
    assert {"rcam", "rcam_scales", "rcam_constants"} <= set(NOTEBOOKS) and not {
        "data",
        "dcsm_train",
        "dcsm_maps",
        "csoa_train",
    } & set(NOTEBOOKS)
    assert params.rcam.sizes == (224, 448) and params.rcam.guide_stride == 8
    assert (
        type(params.rcam.eps) is float and type(params.rcam.crf.bilateral) is float
    )  # written as whole numbers too
    assert params.rcam_scales.sizes[2] == (224, 448)
    assert params.tier["smoke"].data == PARSED["tier"]["smoke"]["data"] and set(
        params.tier["smoke"].data["collage"]
    ) == {"train", "val", "test"}
    assert all(list(params.tier[tier].data) == ["collage", "collage_single"] for tier in ("smoke", "collage"))
    assert params.tier["smoke"].rcam.images is None and params.tier["smoke"].rcam.box_images == 2


@pytest.mark.parametrize(
    "key, value",
    [
        ("rcam.window", "diameter"),
        ("rcam.window", 5),
        ("rcam.eps", 1),
        ("rcam.eps", "1e-3"),
        ("rcam.max_lag", 1.0),
        ("tiers", ["smoke", "collage"]),
        ("seed", 0),
        ("bootstrap.samples", 100),
        ("tier.smoke.rcam.images", None),
        ("tier.smoke.rcam.images", 1),
        ("tier.paper.data.voc2012", {"source": "VOC", "sbd": "SBD"}),
        ("tier.paper", DELETED),
    ],
)
def test_valid_edits(tmp_path: Path, key: str, value: Any) -> None:
    if (key, value) == ("tier.paper", DELETED):  # a tier that is not active may be left out
        path = edited(tmp_path, "tiers", ["smoke"])
        raw = yaml.safe_load(path.read_text())
        del raw["tier"]["paper"]
        path.write_text(yaml.safe_dump(raw))
    else:
        path = edited(tmp_path, key, value)
    load_params(path)


@pytest.mark.parametrize(
    "key, value, words",
    [
        # an unknown key, at every depth
        ("sed", 1, ['sed: there is no such parameter; did you mean "seed"?']),
        ("teirs", ["smoke"], ['teirs: there is no such parameter; did you mean "tiers"?']),
        ("quux", 1, ["quux: there is no such parameter (known: tiers, seed, mirror"]),
        ("rcam.epsilon", 0.1, ['rcam.epsilon: there is no such parameter; did you mean "eps"?']),
        (
            "rcam.crf.iteration",
            3,
            ['rcam.crf.iteration: there is no such parameter; did you mean "iterations"?'],
        ),
        (
            "rcam_scales.radius",
            [1],
            ['rcam_scales.radius: there is no such parameter; did you mean "radii"?'],
        ),
        (
            "tier.smoke.rcam.network",
            ["x"],
            ['tier.smoke.rcam.network: there is no such parameter; did you mean "networks"?'],
        ),
        (
            "tier.smoke.rcam_scale",
            {},
            ['tier.smoke.rcam_scale: there is no such parameter; did you mean "rcam_scales"?'],
        ),
        (
            "tier.smoke.data.collage.tests",
            3,
            ['tier.smoke.data.collage.tests: there is no such option; did you mean "test"?'],
        ),
        (
            "tier.smoke.data.collage_single.tests",
            3,
            ['tier.smoke.data.collage_single.tests: there is no such option; did you mean "test"?'],
        ),
        (
            "tier.paper.data.voc2012.sources",
            "x",
            ['tier.paper.data.voc2012.sources: there is no such option; did you mean "source"?'],
        ),
        # a wrong type
        ("seed", "one", ['seed: must be a whole number, not "one"']),
        ("seed", 0.5, ["seed: must be a whole number, not 0.5"]),
        ("seed", None, ["seed: must be a whole number, not empty"]),
        ("mirror", 7, ["mirror: must be a word, not 7"]),
        ("rcam.eps", "small", ['rcam.eps: must be a number, not "small"']),
        ("rcam.eps", "0.1", ['rcam.eps: must be a number, not "0.1"']),
        ("rcam.eps", "1e3", ["rcam.eps: 1000.0 is out of range"]),
        ("rcam.sizes", 224, ["rcam.sizes: must be a list with at least one entry, not 224"]),
        ("rcam.sizes", [], ["rcam.sizes: must be a list with at least one entry, not empty"]),
        ("rcam.sizes", [224, "448"], ['rcam.sizes[1]: must be a whole number, not "448"']),
        ("rcam.crf", 3, ["rcam.crf: must be a mapping with the keys theta_alpha, ", "not 3"]),
        ("tiers", "smoke", ['tiers: must be a list with at least one entry, not "smoke"']),
        ("tiers", [], ["tiers: must be a list with at least one entry, not empty"]),
        ("tier", [1], ["tier: must be a mapping, not [1]"]),
        (
            "rcam_scales.sizes",
            [[224], 448],
            ["rcam_scales.sizes[1]: must be a list with at least one entry, not 448"],
        ),
        ("tier.smoke.rcam.images", "all", ['tier.smoke.rcam.images: must be a whole number, not "all"']),
        (
            "tier.smoke.data.collage.val",
            "4",
            ['tier.smoke.data.collage.val: must be a whole number, not "4"'],
        ),
        ("tier.paper.data.ft.source", 3, ["tier.paper.data.ft.source: must be a word, not 3"]),
        # true and false are no numbers, although Python thinks so
        ("seed", True, ["seed: must be a whole number, not True"]),
        ("rcam.eps", True, ["rcam.eps: must be a number, not True"]),
        ("rcam.lag_components", True, ['rcam.lag_components: "True" is not a choice (known: 1, 3)']),
        ("tier.smoke.rcam.batch", False, ["tier.smoke.rcam.batch: must be a whole number, not False"]),
        ("tier.smoke.data.collage.train", True, ["tier.smoke.data.collage.train: must be "]),
        # a choice, which must also be of the right type
        ("rcam.guide_stride", 7, ['rcam.guide_stride: "7" is not a choice (known: 2, 4, 8, 16)']),
        ("rcam.guide_stride", 8.0, ['rcam.guide_stride: "8.0" is not a choice']),
        ("rcam.window", "diametre", ['rcam.window: "diametre" is not a choice; did you mean "diameter"?']),
        (
            "rcam.googlenet_tail",
            "dilate",
            ['rcam.googlenet_tail: "dilate" is not a choice; did you mean "dilated"?'],
        ),
        (
            "rcam_constants.tails",
            ["dilated", "undelated"],
            ['rcam_constants.tails[1]: "undelated" is not a choice; did you mean "undilated"?'],
        ),
        # out of range
        ("seed", -1, ["seed: -1 is out of range, it must be between 0 and 2147483648"]),
        (
            "bootstrap.samples",
            99,
            ["bootstrap.samples: 99 is out of range, it must be between 100 and 100000"],
        ),
        ("bootstrap.level", 95, ["bootstrap.level: 95.0 is out of range, it must be between 0.5 and 0.999"]),
        ("rcam.window", 0, ["rcam.window: 0 is out of range, it must be between 1 and 64"]),
        ("rcam.eps", float("nan"), ["rcam.eps: nan is out of range"]),
        ("rcam.eps", float("inf"), ["rcam.eps: inf is out of range"]),
        ("rcam.boxes.overlap", 1.5, ["rcam.boxes.overlap: 1.5 is out of range, it must be between 0 and 1"]),
        ("rcam_scales.radii", [1, 65], ["rcam_scales.radii[1]: 65 is out of range"]),
        (
            "rcam_scales.sizes",
            [[224], [448, 3]],
            ["rcam_scales.sizes[1][1]: 3 is out of range, it must be between 64 and 2048"],
        ),
        ("rcam_constants.weights", [[1, 1, 1]], ["rcam_constants.weights: [1.0, 1.0, 1.0] must be a pair"]),
        ("tier.smoke.rcam.images", 0, ["tier.smoke.rcam.images: 0 is out of range, it must be at least 1"]),
        (
            "tier.collage.data.collage_single.test",
            0,
            ["tier.collage.data.collage_single.test: 0 is out of range, it must be between 1 and 100000"],
        ),
        (
            "tier.smoke.data.collage.test",
            0,
            ["tier.smoke.data.collage.test: 0 is out of range, it must be between 1 and 100000"],
        ),
        # data sets, networks and tiers that are not known
        (
            "tier.smoke.data.colage",
            {},
            ['tier.smoke.data: there is no data set "colage"; did you mean "collage"?'],
        ),
        (
            "tier.smoke.data.collage_singel",
            {},
            ['tier.smoke.data: there is no data set "collage_singel"; did you mean "collage_single"?'],
        ),
        ("tier.mirror.data.collage_single", {}, ['tier.mirror.data: there is no data set "collage_single"']),
        (
            "tier.mirror.data.pascals",
            {},
            ['tier.mirror.data: there is no data set "pascals"; did you mean "pascal_s"?'],
        ),
        ("tier.paper.data.voc", {}, ['tier.paper.data: there is no data set "voc"; did you mean "voc2012"?']),
        (
            "tier.smoke.rcam.datasets",
            ["colage"],
            ['tier.smoke.rcam: there is no data set "colage" in this tier; did you mean "collage"?'],
        ),
        (
            "tier.mirror.rcam_scales.dataset",
            "pascal",
            ['tier.mirror.rcam_scales: there is no data set "pascal" in this tier; did you mean "pascal_s"?'],
        ),
        (
            "tier.smoke.rcam.networks",
            ["efficientnet"],
            ['tier.smoke.rcam: there is no network "efficientnet"; did you mean "efficientnet_lite0"?'],
        ),
        (
            "tier.smoke.rcam_scales.network",
            "googlenet_bvcl",
            ['tier.smoke.rcam_scales: there is no network "googlenet_bvcl"; did you mean "googlenet_bvlc"?'],
        ),
        ("tiers", ["smokee"], ['tiers: there is no tier "smokee"; did you mean "smoke"?']),
        ("tier.colage", PARSED["tier"]["smoke"], ['there is no tier "colage"; did you mean "collage"?']),
        # what nothing could be made of
        (
            "tier.smoke.comparison.single",
            "collage",
            ["tier.smoke.comparison.single: nothing of CSoA is trained on collage"],
        ),
        ("csoa_trials.empty", {}, ["csoa_trials.empty: changes nothing"]),
        ("iam_constants.crfs.empty", {}, ["iam_constants.crfs.empty: changes nothing"]),
        ("tier.smoke.proposals.images.collage.val", -1, ["images.collage.val: -1 is out of range"]),
        ("tier.smoke.proposals.images.collage.val", 0, ["images.collage.val: 0 is out of range"]),
        (
            "tier.smoke.proposals.images.collage.tests",
            3,
            ['tier.smoke.proposals.images.collage: there is no split "tests"; did you mean "test"?'],
        ),
        (
            "tier.smoke.rcam.networks",
            ["vgg16_conv"],
            ['tier.smoke.rcam.networks: "vgg16_conv" has no linear layer'],
        ),
        (
            "tier.smoke.rcam_scales.network",
            "torchvision_vgg16",
            ['tier.smoke.rcam_scales.network: "torchvision_vgg16" has no linear layer'],
        ),
        (
            "tier.smoke.dcsm_train.networks.efficientnet_lite0",
            {"side": 96, "batch": 4, "epochs": 0, "head_epochs": 0, "head_rate": 0.1, "rate": 0.1},
            ["efficientnet_lite0: head_epochs and epochs are both 0"],
        ),
        (
            "tier.smoke.iam_train.networks.efficientnet_lite0.classifier.head_epochs",
            0,
            ["efficientnet_lite0.classifier: head_epochs and epochs are both 0"],
        ),
        (
            "tier.smoke.iam_train.networks.efficientnet_lite0.classifier.ratios",
            [0.8, 1.2, 1.4, 1.6],
            ["classifier.ratios: [0.8, 1.2, 1.4, 1.6] must be a pair"],
        ),
        (
            "tier.smoke.iam_train.networks.efficientnet_lite0.classifier.ratios",
            [1.2, 0.8],
            ["classifier.ratios: [1.2, 0.8] must be a pair, the lowest and the highest ratio"],
        ),
        (
            "tier.collage.iam_train.networks.efficientnet_lite0.classifier.frozen",
            "block.2",
            ['classifier.frozen: efficientnet_lite0 has no module "block.2"; did you mean "blocks.2"?'],
        ),
        (
            "tier.mirror.dcsm_train.networks.vgg16_conv.frozen",
            "32",
            ['vgg16_conv.frozen: vgg16_conv has no module "32"'],
        ),
        (
            "tier.smoke.iam_train.unseen",
            ["fruits"],
            ['tier.smoke.iam_train.unseen: collage has no class "fruits"; did you mean "fruit"?'],
        ),
        (
            "tier.mirror.iam_train.unseen",
            ["kat"],
            ['tier.mirror.iam_train.unseen: voc has no class "kat"; did you mean "cat"?'],
        ),
        # names of files, and words that cannot be seen
        ("csoa_trials", {"../x": {"gamma": 1.0}}, ['csoa_trials: "../x" is no plain name']),
        ("mirror", "a\0b", ['mirror: "a\\x00b" holds characters that cannot be seen']),
        ("mirror", "a\nb", ['mirror: "a\\nb" holds characters that cannot be seen']),
        # missing keys
        ("seed", DELETED, ["seed: the parameter is missing"]),
        ("tier", DELETED, ["tier: the parameter is missing"]),
        ("rcam.crf.spatial", DELETED, ["rcam.crf.spatial: the parameter is missing"]),
        ("tier.smoke.rcam_constants", DELETED, ["tier.smoke.rcam_constants: the parameter is missing"]),
        (
            "tier.collage.data.collage_single.val",
            DELETED,
            [
                "tier.collage.data.collage_single.val: the parameter is missing; "
                "every split needs its number of images"
            ],
        ),
        (
            "tier.smoke.data.collage.val",
            DELETED,
            ["tier.smoke.data.collage.val: the parameter is missing; every split needs its number of images"],
        ),
    ],
)
def test_every_fault_names_the_key_and_the_way_out(
    tmp_path: Path, key: str, value: Any, words: list[str]
) -> None:
    with pytest.raises(Problem) as caught:
        load_params(edited(tmp_path, key, value))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_an_active_tier_needs_a_block(tmp_path: Path) -> None:
    path = edited(tmp_path, "tiers", ["paper"])
    raw = yaml.safe_load(path.read_text())
    del raw["tier"]["paper"]
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(Problem, match='tiers: "paper" has no block under "tier"'):
        load_params(path)


@pytest.mark.parametrize("key", ["tier.smoke.single", "tier.smoke.comparison.single"])
def test_a_misspelt_data_set_of_single_objects_is_named(tmp_path: Path, key: str) -> None:
    """CSoA's networks are looked up by it: the comparison would have no row of CSoA otherwise."""
    words = 'no data set "collage_singel" in this tier; did you mean "collage_single"'
    with pytest.raises(Problem, match=words):
        load_params(edited(tmp_path, key, "collage_singel"))


@pytest.mark.parametrize(
    "content", [b"tiers: [smoke\nseed: 0\n", b"seed: \xff\xfe\n", b"seed: 0\n\tmirror: x\n"]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(Problem, match="^params.yaml: cannot be read as YAML"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="^params.yaml: cannot be read"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", ["", "# nothing\n", "- seed\n", "word\n"])
def test_a_file_without_parameters_is_a_problem(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(Problem, match=r"^params.yaml: must be a mapping with the keys tiers, seed"):
        load_params(tmp_path / "params.yaml")
