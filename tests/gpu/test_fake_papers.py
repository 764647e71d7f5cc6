"""Every paper's way from images to maps, and its training steps, on a fake GPU: nothing mixed, no waiting."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import csoa_toys
import dcsm_toys
import iam_toys
import pytest
import small_training
import torch
from fake_gpu import BOTH, GPU, GPU_WITH_DERIVATIVES, fake_gpu, on, placed
from gpu_waits import BOXES, CRF, some_output, some_peaks
from PIL import Image
from scenes import TinyNetwork
from torch import nn

from lib.data.dataset import Sample
from lib.nets.fcn import fully_convolutional
from lib.papers.csoa import locate, training as csoa_training
from lib.papers.csoa.method import Extractor, losses, network_of
from lib.papers.csoa.settings import Variant
from lib.papers.dcsm import maps as dcsm_maps
from lib.papers.dcsm.method import dcsm, enlarged, raw_maps, saliency
from lib.papers.fcn_gbp.method import Detected, unified
from lib.papers.fcn_gbp.settings import FcnGbpSettings
from lib.papers.iam import method as iam
from lib.papers.iam.lessons import Batch
from lib.papers.iam.training import filling_loss
from lib.papers.rcam import levels
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import before_crf, rcam
from lib.papers.rcam.settings import RcamSettings
from lib.training import multilabel
from lib.training.batches import CachedViews, Photographs
from lib.training.settings import TrainingSettings

PHOTOS = [dcsm_toys.toy_photo(0), dcsm_toys.toy_photo(1, 60, 80)]
RCAM = RcamSettings(
    sizes=(64, 128), guide_stride=8, components=3, max_lag=0.5, lag_components=1, window="radius", eps=0.02,
    crf=CRF, crf_cited=CRF, boxes=BOXES, googlenet_tail="dilated")
devices = pytest.mark.parametrize("device", BOTH, ids=str)
pytestmark = pytest.mark.usefixtures("without_waiting")


# rCAM

@devices
@pytest.mark.parametrize("window", ["radius", "diameter", 4])
def test_rcam_up_to_the_crf(device: torch.device, window: str | int) -> None:
    network = placed(TinyNetwork(1), device)
    with fake_gpu():
        ours, rows = before_crf(network, PHOTOS, replace(RCAM, window=window))
    found = [*rows.values(), ours.classes, *ours.window]
    assert {values.device for values in found} == {device}
    assert list(rows) == ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3"]


def test_rcam_in_boxes_and_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    network = placed(TinyNetwork(1), GPU)
    with fake_gpu():
        maps = rcam(network, PHOTOS, RCAM).maps
        in_boxes = rcam_box(network, PHOTOS, RCAM)
        of_levels = levels.components(network, PHOTOS, RCAM)
    assert maps["rcam"].shape == in_boxes.shape == (2, 1, 224, 224)
    assert set(of_levels) == {32, 16, 8, 4}


# DCSM and the poster

@pytest.mark.parametrize("changes", [
    {"reading": "paper", "normaliser": "own"}, {"normaliser": "joint"}, {"normaliser": "after"},
    {"reading": "demo"}, {"candidates": 0}])
def test_dcsm(changes: dict) -> None:
    settings = replace(dcsm_toys.SETTINGS, **changes)
    fcn = placed(dcsm_toys.toy_fcn(1), GPU_WITH_DERIVATIVES)
    with fake_gpu():
        raw = raw_maps(fcn, PHOTOS[0], settings, dcsm_toys.SIDE)
        maps = saliency(enlarged(raw, settings.map_stride), settings, dcsm_toys.BLOCKS)
    assert maps.device == GPU_WITH_DERIVATIVES and len(maps) == 2


def test_dcsm_of_a_photograph_and_its_files() -> None:
    """To label maps, which the CPU makes; and every kind of raw map of the tables."""
    fcn = placed(dcsm_toys.toy_fcn(1), GPU_WITH_DERIVATIVES)
    with fake_gpu():
        found = dcsm(fcn, PHOTOS[0], dcsm_toys.SETTINGS, dcsm_toys.SIDE)
        passes = dcsm_maps._Passes(fcn, PHOTOS[0], dcsm_toys.SIDE, _jobs(fcn))
        for job in _jobs(fcn):
            maps = passes.gradients(job, [1, 0, 2])
            assert {values.device for values in maps.values()} == {GPU_WITH_DERIVATIVES}
    assert found.labels.shape == (64, 96) and not passes.made


def _jobs(fcn: nn.Module) -> list[dcsm_maps.Job]:
    return dcsm_maps._main_jobs(fcn, dcsm_toys.MAPS) + dcsm_maps._ablation_jobs(fcn, dcsm_toys.MAPS)


@devices
@pytest.mark.parametrize("maximum", ["image", "class"])
def test_the_posters_maps(device: torch.device, maximum: str) -> None:
    """Probabilities and saliency come from files, and follow the class maps."""
    settings = FcnGbpSettings(0.5, "geometric", maximum, 0.1, 3.0, CRF)
    with fake_gpu():
        detected = Detected(torch.rand(4), [3, 0, 1], torch.rand(3, 8, 8))
        maps = unified(on(device, 3, 5, 6), detected, [0, 2], (40, 48), settings)
    assert maps.shape == (2, 40, 48) and maps.device == device


# CSoA

def two_classifiers(variant: Variant, device: torch.device) -> nn.Module:
    return placed(network_of(variant, "4-5", csoa_toys.toy_trunk(1), csoa_toys.CLASSES[:2], 6), device)


@pytest.mark.filterwarnings("ignore:CUDA is not available")   # of autocast
@pytest.mark.parametrize("variant", ["base", "confseg", "coaug", "csoa"])
def test_csoas_losses(variant: Variant) -> None:
    net = two_classifiers(variant, GPU)
    extractor = placed(Extractor(csoa_toys.toy_trunk(2)), GPU)
    with fake_gpu(), csoa_training._half_on_a_gpu(GPU):
        images, classes = on(GPU, 4, 3, 32, 32), torch.empty(4, dtype=torch.long, device=GPU)
        parts = losses(net, extractor, images, classes, csoa_toys.SETTINGS, 32)
    assert parts.total(0.5, 0.3).device == GPU


@pytest.mark.parametrize("variant", ["base", "confseg", "coaug", "csoa"])
def test_a_step_of_csoa(variant: Variant) -> None:
    device = GPU_WITH_DERIVATIVES
    net = two_classifiers(variant, device)
    extractor = placed(Extractor(csoa_toys.toy_trunk(2)), device)
    samples = [Sample(name, Path(), "", "train", (name,)) for name in ("disc", "disc", "bar", "bar")]
    task = csoa_training.TrainingTask(csoa_toys.JOB, _Images(), None, csoa_toys.SETTINGS, csoa_toys.TRAINING,
                                      extractor if variant in ("coaug", "csoa") else None)
    with fake_gpu():
        optimiser = csoa_training.optimiser_of(net, csoa_toys.TRAINING)
        share = csoa_training.Share(samples, (0, 0), None)
        values = csoa_training._step(net, task, optimiser, share, torch.rand(4, 3, 32, 32))
    assert {value.device for value in values.values() if value is not None} == {device}
    assert all(parameter.grad is not None for parameter in net.w_l.parameters())


class _Images:
    classes: tuple[str, ...] = ("disc", "bar")


@devices
def test_where_csoa_finds_objects(device: torch.device) -> None:
    net = two_classifiers("csoa", device)
    with fake_gpu(), torch.inference_mode():
        images, classes = on(device, 2, 3, 32, 32), torch.empty(2, dtype=torch.long, device=device)
        s_l, s_f = net(images)
        maps = locate.own_maps(s_l, s_f, classes)
        found = [*maps.values(), *locate.best_maps(net, images), locate.ten_crop(net, images, 28)]
        ranks = locate._ten_crop_ranks(net, on(device, 2, 3, 36, 36), classes, 32)
    assert {values.device for values in found} == {device} and len(ranks) == 2


# IAM

@pytest.mark.parametrize("choose", [iam.present(2), iam.strongest(2), iam.no_peaks],
                         ids=["present", "strongest", "none"])
def test_the_classifiers_output(choose: iam.ChoosePeaks) -> None:
    device = GPU_WITH_DERIVATIVES
    fcn, filling = placed(iam_toys.toy_fcn(), device), placed(iam_toys.toy_filling(), device)
    with fake_gpu():
        output = iam.run_classifier(fcn, PHOTOS, 64, 32, choose)
        maps = iam.activate(filling, output)
        refined = iam.refined(PHOTOS[0], maps, iam_toys.CONV_CRF, 40)
        found = [output.class_maps, output.scores, output.prms, output.confidences, maps, refined]
        assert iam.class_responses(output, (20, 30)).device.type == "cpu"   # for proposals, which are there
    assert {values.device for values in (*found, *output.levels)} == {device}


def test_peaks_of_labels() -> None:
    with fake_gpu():
        peaks = iam.labelled(torch.ones(2, 3, dtype=torch.bool), 2)(on(GPU, 2, 3, 8, 8))
    assert peaks.value.device == GPU


@devices
def test_filling(device: torch.device) -> None:
    filling = placed(iam_toys.toy_filling(), device)
    with fake_gpu():
        assert iam.activate(filling, some_output(device)).device == device


def test_a_step_of_the_filling_module() -> None:
    device = GPU_WITH_DERIVATIVES
    filling = placed(iam_toys.toy_filling().requires_grad_().train(), device)
    with fake_gpu():
        output = some_output(device)
        masks = torch.empty(2, 3, 32, 32, dtype=torch.bool, device=device)
        batch = Batch(output.prms, masks[0], masks[1], output.levels, some_peaks(output.class_maps).image)
        optimiser = torch.optim.Adam(filling.parameters())
        filling_loss(filling(batch.prms, batch.levels, batch.image), batch).backward()
        optimiser.step()
    assert {parameter.grad.device for parameter in filling.parameters()} == {device}


# Multi-label networks

def steps_of(settings: TrainingSettings, photos: Sequence[Image.Image], device: torch.device) -> list[float]:
    """A step of the head and one of everything."""
    fcn = fully_convolutional(small_training.trunk(), list(small_training.COLOURS), pooling="peaks")
    fcn = placed(fcn, device)
    samples = [Sample(str(n), Path(), "", "train", ("red",), decoded=photo) for n, photo in enumerate(photos)]
    with fake_gpu():
        source = (CachedViews if settings.views else Photographs)(fcn, samples, settings)
        training = multilabel.Training(source, torch.rand(2, 3), samples, settings, 0, None)
        values = []
        for phase in training.phases:
            optimiser = multilabel._optimiser(fcn, settings, phase)
            step = training._steps((0, phase.number, 0), 0)[0]
            batch = step.reading()
            values.append(multilabel._update(source, optimiser, step, batch, training.p[step.rows], 0.1))
    assert all(parameter.grad.device == device for parameter in fcn.head.parameters())
    return values


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("changes", [{}, {"views": 2, "frozen": "relu1"}])
def test_a_step_of_a_multi_label_network(optimiser: str, changes: dict) -> None:
    settings = replace(small_training.SETTINGS, optimiser=optimiser, batch=2, **changes)
    assert len(steps_of(settings, PHOTOS, GPU_WITH_DERIVATIVES)) == 2
