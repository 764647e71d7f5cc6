"""Networks, maps and filters on a fake GPU, forward and backward: no devices mixed, no waiting."""
import numpy as np
import pytest
import torch
from fake_gpu import BOTH, GPU, GPU_WITH_DERIVATIVES, fake_gpu, on, placed
from gpu_waits import some_peaks
from iam_toys import CONV_CRF, toy_fcn
from PIL import Image

from lib.maps.backprop import trace as trace_plain
from lib.maps.cam import cam, each_maximum_is_one, normalise, winner_under_max_pooling
from lib.maps.peak_response import descend, peak_response_maps, trace
from lib.maps.peaks import is_peak, peak_stimulation
from lib.nets import NETWORKS, load_network
from lib.nets.fcn import fully_convolutional
from lib.nets.network import Network
from lib.refine import superpixels
from lib.refine.convcrf import refine_instances
from lib.refine.guided_filter import guided_filter
from lib.refine.shape import principal_components
from lib.refine.superpixels import pool
from lib.refine.variogram import empirical_variogram, fit_gaussian

CLASSES = ("a", "b", "c")
devices = pytest.mark.parametrize("device", BOTH, ids=str)
pytestmark = pytest.mark.usefixtures("without_waiting")


def untrained(name: str) -> Network:
    """Without values, so that a hundred million weights cost nothing."""
    with torch.device("meta"):
        return load_network(name, pretrained=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_and_all_that_is_read_inside(name: str) -> None:
    network = placed(untrained(name), GPU)
    layers = [layer for names in network.responses.values() for layer in names]
    with fake_gpu(), torch.inference_mode():
        outputs = network.activations(on(GPU, 1, 3, 96, 96), layers)
    assert {values.device for values in outputs.values()} == {GPU}
    assert set(outputs) == {*layers, "logits"}


@pytest.mark.parametrize("guided", [True, False])
def test_derivatives_of_many_classes(guided: bool) -> None:
    """From the last map on, as if its first channels were class maps."""
    network = placed(untrained("vgg16_conv"), GPU_WITH_DERIVATIVES)
    chosen = list(network.stages.values())[2:4]

    def forward_pass(image: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        outputs = network.activations(image, [*chosen, network.features])
        return outputs[network.features][:, :5], {name: outputs[name] for name in chosen}

    with fake_gpu():
        traced = trace_plain(forward_pass, on(GPU_WITH_DERIVATIVES, 1, 3, 64, 64), guided)
        maps = traced.gradients(torch.tensor([[0, 3, 4]]), chunk=2)
    assert [values.device for values in maps.values()] == [GPU_WITH_DERIVATIVES] * 2
    assert all(len(values[0]) == 3 for values in maps.values())


@devices
def test_class_activation_maps(device: torch.device) -> None:
    with fake_gpu():
        features = on(device, 2, 6, 7, 7)
        weight, bias = on(device, 4, 6), on(device, 4)
        maps = normalise(cam(features, weight, winner_under_max_pooling(features, weight, bias)))
        shares = each_maximum_is_one(maps)
    assert maps.device == shares.device == device


@devices
def test_peaks_and_what_stimulates_them(device: torch.device) -> None:
    with fake_gpu():
        maps = on(device, 2, 3, 8, 8)
        found = is_peak(maps), peak_stimulation(maps)
    assert {values.device for values in found} == {device}


def test_peaks_are_stimulated_backwards() -> None:
    with fake_gpu():
        maps = on(GPU_WITH_DERIVATIVES, 2, 3, 8, 8).requires_grad_()
        peak_stimulation(maps).sum().backward()
    assert maps.grad.device == GPU_WITH_DERIVATIVES


def test_peak_response_maps() -> None:
    device = GPU_WITH_DERIVATIVES
    fcn = placed(toy_fcn(), device)
    with fake_gpu():
        rgb = on(device, 2, 3, 64, 64)
        traced = trace(fcn, rgb, ["relu1", "relu2"])
        peaks = some_peaks(traced.scores)
        maps = descend(traced, peaks)
        same = peak_response_maps(fcn, rgb, peaks)
    assert maps.shape == same.shape == (3, 64, 64)
    assert maps.device == same.device == device
    assert {values.device for values in traced.layers.values()} == {device}


@pytest.mark.parametrize("name", ["googlenet_bvlc", "vgg16_conv"])
def test_the_way_down_of_the_papers_networks(name: str) -> None:
    device = GPU_WITH_DERIVATIVES
    with torch.device("meta"):
        fcn = fully_convolutional(untrained(name), CLASSES, pooling="peaks")
    fcn = placed(fcn, device)
    with fake_gpu():
        traced = trace(fcn, on(device, 1, 3, 64, 64))
        assert traced.down(torch.zeros(1, *traced.scores.shape, device=device)).device == device


@devices
def test_guided_filter_and_its_window(device: torch.device) -> None:
    with fake_gpu(), torch.inference_mode():
        guide = principal_components([on(device, 2, 6, 28, 28), on(device, 2, 4, 28, 28)])
        fit = fit_gaussian(empirical_variogram(guide, 7))
        radius = fit.sigma.round().long().clamp(1, 14)
        filtered = guided_filter(on(device, 2, 1, 28, 28), guide, radius, 0.01)
        with_one_radius = guided_filter(on(device, 2, 1, 28, 28), guide, 3, 0.01)
    assert {values.device for values in (*fit, filtered, with_one_radius)} == {device}


@devices
@pytest.mark.parametrize("blur", [1, 4])
def test_convolutional_crf(device: torch.device, blur: int) -> None:
    settings = type(CONV_CRF)(**{**vars(CONV_CRF), "blur": blur})
    with fake_gpu():
        image = torch.empty(3, 21, 30, dtype=torch.uint8, device=device)
        refined = refine_instances(image, on(device, 2, 21, 30), settings)
    assert refined.shape == (2, 21, 30) and refined.device == device


@devices
def test_means_over_superpixels(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix is made on the CPU, where superpixels are found; fake tensors cannot be sparse."""
    labels = superpixels.slic(Image.effect_noise((40, 30), 50), 12)
    count = int(labels.max()) + 1
    monkeypatch.setattr(superpixels, "means_over", lambda labels, small, dtype: torch.zeros(
        count, small[0] * small[1], dtype=dtype))
    with fake_gpu():
        means = pool(on(device, 5, 7, 9), labels)
    assert means.shape == (count, 5) and means.device == device
    assert np.array_equal(np.unique(labels), np.arange(count))
