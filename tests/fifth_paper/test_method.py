"""Score-CAM against a literal transcription of algorithm 1."""
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib.nets import load_network
from lib.nets.network import Network
from lib.papers.scorecam.method import combined, confidences, increases, masks, score_cam
from lib.papers.scorecam.settings import ScoreCamSettings

SETTINGS = ScoreCamSettings(side=64, batch=50, images=2)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("efficientnet_lite0")


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    patterns = [((90, 60), (-2, -1, 1, 1)), ((64, 64), (-1, -1, 0, 0))]
    return [Image.effect_mandelbrot(size, extent, 60).convert("RGB") for size, extent in patterns]


def algorithm_1(network: Network, image: Tensor, channels: Tensor, target: int) -> Tensor:
    """One channel after the other, as printed."""
    side = image.shape[-1]
    black = network(torch.zeros(1, 3, side, side))[0, target]
    gains = []
    for channel in channels:
        enlarged = interpolate(channel[None, None], (side, side), mode="bilinear", align_corners=False)
        mask = (enlarged - enlarged.min()) / (enlarged.max() - enlarged.min())
        gains.append(network(image[None] * mask)[0, target] - black)
    exponents = torch.stack(gains).exp()
    total = torch.zeros_like(channels[0])
    for alpha, channel in zip(exponents / exponents.sum(), channels, strict=True):
        total += alpha * channel
    return total.clamp(min=0)


@torch.inference_mode()
def test_against_algorithm_1(network: Network) -> None:
    torch.manual_seed(3)
    image = torch.rand(3, 64, 64)
    channels = torch.rand(7, 4, 4)
    gains = increases(network, image, channels, 5, batch=3)
    expected = algorithm_1(network, image, channels, 5)
    assert torch.allclose(combined(channels, gains)[0], expected, atol=1e-5)


def test_masks_are_stretched_one_by_one() -> None:
    found = masks(torch.tensor([[[1.0, 3.0]], [[-4.0, -2.0]]]), 2)
    assert found.shape == (2, 1, 2, 2)
    assert torch.equal(found[0, 0], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    assert torch.equal(found[0], found[1])


def test_a_channel_without_a_pattern_has_no_say() -> None:
    channels = torch.stack([torch.full((2, 2), 9.0), torch.tensor([[0.0, 1.0], [2.0, -3.0]])])
    heat, = combined(channels, torch.tensor([100.0, 0.0]))
    assert torch.equal(heat, torch.tensor([[0.0, 1.0], [2.0, 0.0]]))


def test_batches_of_photographs_and_of_masks_change_nothing(network: Network,
                                                            photos: list[Image.Image]) -> None:
    together = score_cam(network, photos, SETTINGS)
    alone = [score_cam(network, [photo], ScoreCamSettings(64, 333, 2)) for photo in photos]
    for place, one in enumerate(alone):
        assert int(one.classes[0]) == int(together.classes[place])
        assert torch.allclose(one.maps["scorecam"][0], together.maps["scorecam"][place], atol=1e-4)


def test_confidences_by_hand() -> None:
    """Two classes, whose logits are the sums of two channels of the image."""
    def network(images: Tensor) -> Tensor:
        return images[:, :2].sum((2, 3))

    images = torch.zeros(1, 3, 2, 2)
    images[0, 0] = 0.25
    map_ = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    before, after = confidences(network, images, map_, torch.tensor([0]))
    e = torch.e
    assert before.tolist() == pytest.approx([e / (e + 1)])
    assert after.tolist() == pytest.approx([e ** 0.25 / (e ** 0.25 + 1)])
