"""PRM's retrieval and what IAM's pseudo masks are drawn from.

By hand, against a literal loop, and where there is nothing to retrieve.
"""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lib.base.problem import Problem
from lib.base.strict import build
from lib.papers.iam import prm
from lib.papers.iam.prm import (
    candidates,
    contour,
    draw,
    mask_overlaps,
    matching_scores,
    products,
    ranked,
    retrieval_scores,
    retrieve,
    suppressed,
)
from lib.papers.iam.settings import RetrievalSettings

SETTINGS = RetrievalSettings(alpha=0.8, beta=1.0, gamma=1e-5, background=0.95, width=3, nms=0.3, overlap=0.2)
VALUES = {"alpha": 0.8, "beta": 1.0, "gamma": 1e-5, "background": 0.95, "width": 3, "nms": 0.3,
          "overlap": 0.2}


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (8, 8)) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def scene() -> tuple[Tensor, Tensor]:
    """Sparse peak response maps `(3, 23, 31)` that sum to something, and 40 blobs."""
    rng = np.random.default_rng(0)
    maps = rng.random((3, 23, 31)).astype(np.float32) ** 8
    y, x = np.mgrid[:23, :31]
    ellipses = rng.uniform((0, 0, 1, 1), (23, 31, 12, 15), (40, 4))
    blobs = [((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1 for cy, cx, a, b in ellipses]
    return torch.from_numpy(maps), torch.from_numpy(np.stack(blobs))


def literal(maps: Tensor, proposals: Tensor, settings: RetrievalSettings, responses: Tensor,
            penalty: float) -> np.ndarray:
    """PRM's metric, one peak and one proposal after the other, contours by OpenCV."""
    found = np.zeros((len(maps), len(proposals)))
    square = np.ones((settings.width, settings.width), np.uint8)
    for i, (m, response) in enumerate(zip(maps.double().numpy(), responses.double().numpy(), strict=True)):
        m = m / m.sum()
        background = response < settings.background * response.mean()
        for j, s in enumerate(proposals.numpy()):
            edge = cv2.morphologyEx(s.astype(np.uint8), cv2.MORPH_GRADIENT, square).astype(bool)
            fit = settings.alpha * m[s].sum() + settings.beta * m[edge].sum()
            found[i, j] = fit - penalty * background[s].sum()
    return found


def pseudo_masks(maps: Tensor, proposals: Tensor, settings: RetrievalSettings, k: int) -> list[list[int]]:
    """The positions of each peak's at most k candidates among the proposals, best first; maybe none."""
    scores = matching_scores(maps, proposals, settings)
    places = ranked(scores, maps, proposals, settings.overlap, k)
    return [some.tolist() for some in candidates(places, k)]


def test_scores_by_hand() -> None:
    """A map of 3 at (2, 2) and 1 at (6, 6), and a 3 x 3 proposal around the former.

    Its contour is all of 5 x 5 without the middle.
    """
    maps = torch.zeros(1, 8, 8)
    maps[0, 2, 2], maps[0, 6, 6] = 3, 1
    proposals = torch.stack([box(1, 1, 4, 4), box(2, 2, 3, 3), box(5, 5, 8, 8)])
    inside = [0.75, 0.75, 0.25]
    # Of one pixel all is contour; the third's contour is not the corner of the image.
    on_contour = [0, 0.75, 0.0]
    expected = [0.8 * a + b for a, b in zip(inside, on_contour, strict=True)]
    assert torch.allclose(matching_scores(maps, proposals, SETTINGS), torch.tensor([expected]))
    per_pixel = 1e-5 * 448 ** 2 / 64   # background is all but the two pixels
    expected = [a - n * per_pixel for a, n in zip(expected, (8, 0, 8), strict=True)]
    assert torch.allclose(retrieval_scores(maps, proposals, SETTINGS), torch.tensor([expected]))


def test_background_of_the_class_response_by_hand() -> None:
    """Its mean is 1/2: two of the proposal's four pixels are below 0.95 of it.

    At 1.0 of it those that equal it are not.
    """
    maps, proposals = torch.ones(1, 4, 4), box(0, 0, 4, 4, (4, 4))[None]
    response = torch.tensor([[0.0, 0.45, 0.5, 1.05]]).expand(1, 4, 4).contiguous()
    plain = matching_scores(maps, proposals, SETTINGS)
    for background, pixels in ((0.95, 8), (0.91, 8), (0.89, 4), (1.0, 8), (1.01, 12)):
        settings = replace(SETTINGS, background=background)
        found = retrieval_scores(maps, proposals, settings, responses=response)
        assert torch.allclose(plain - found, torch.tensor(pixels * 1e-5 * 448 ** 2 / 16)), background


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("given", [False, True])
def test_scores_as_a_literal_loop(width: int, given: bool, scene: tuple[Tensor, Tensor]) -> None:
    maps, proposals = scene
    settings = replace(SETTINGS, width=width, gamma=1e-4, beta=0.7)
    responses = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0)) if given else maps
    expected = literal(maps, proposals, settings, responses, 1e-4 * 448 ** 2 / (23 * 31))
    found = retrieval_scores(maps, proposals, settings, responses=responses if given else None)
    assert found.shape == (3, 40) and np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    edges = contour(proposals, width)
    known = retrieval_scores(maps, proposals, settings, edges, responses if given else None)
    assert torch.equal(known, found)
    without_background = literal(maps, proposals, settings, maps, 0)
    assert np.allclose(matching_scores(maps, proposals, settings), without_background, rtol=1e-4, atol=1e-5)


def test_blocks_change_nothing(scene: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = products(*scene)
    monkeypatch.setattr(prm, "BLOCK", 23 * 31 * 7)   # 40 masks in blocks of 7
    assert torch.allclose(products(*scene), whole)
    monkeypatch.setattr(prm, "BLOCK", 1)
    assert torch.allclose(products(*scene), whole) and whole.shape == (3, 40)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (12, 3)])
@pytest.mark.parametrize("width", [3, 7])
def test_contours_are_those_of_opencv(shape: tuple[int, int], width: int) -> None:
    masks = np.random.default_rng(0).random((20, *shape)) < 0.6
    before = masks.copy()
    found = contour(torch.from_numpy(masks), width)
    square = np.ones((width, width), np.uint8)
    gradients = [cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, square) for mask in masks]
    expected = np.stack([gradient.reshape(shape) for gradient in gradients]).astype(bool)
    assert np.array_equal(found.numpy(), expected) and np.array_equal(masks, before)


def test_overlaps_as_a_literal_loop() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((7, 9, 11)) < 0.4
    others = rng.random((4, 9, 11)) < 0.5
    masks[3] = False
    others[2] = False
    expected = np.zeros((7, 4))
    for j, t in np.ndindex(7, 4):
        either = (masks[j] | others[t]).sum()
        expected[j, t] = (masks[j] & others[t]).sum() / either if either else 0
    found = mask_overlaps(torch.from_numpy(masks), torch.from_numpy(others))
    assert found.dtype == torch.float64 and np.allclose(found.numpy(), expected, rtol=1e-15, atol=0)
    nothing = torch.zeros(0, 9, 11, dtype=torch.bool)
    assert mask_overlaps(torch.from_numpy(masks), nothing).shape == (7, 0)


# retrieval

def peaks_at(*places: tuple[int, int]) -> Tensor:
    maps = torch.zeros(len(places), 8, 8)
    for i, (y, x) in enumerate(places):
        maps[i, y, x] = 2.0
    return maps


def test_each_peak_gets_its_best_proposal(scene: tuple[Tensor, Tensor]) -> None:
    maps, proposals = scene
    classes, confidences = torch.tensor([4, 2, 7]), torch.tensor([0.2, 0.9, 0.5])
    found = retrieve(maps, classes, confidences, proposals, SETTINGS)
    best = literal(maps, proposals, SETTINGS, maps, 1e-5 * 448 ** 2 / (23 * 31)).argmax(1)
    assert found.classes.tolist() == [2, 7, 4] and found.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert torch.equal(found.masks, proposals[best[[1, 2, 0]]]) and found.masks.dtype == torch.bool


def test_suppression_by_hand() -> None:
    """IoU of rows 0-3 and 2-5 is 2/6, with 3-6 1/7; the third is of another class; the surest come first."""
    masks = torch.stack([box(0, 0, 4, 8), box(2, 0, 6, 8), box(0, 0, 4, 8), box(3, 0, 7, 8), box(7, 0, 8, 8)])
    classes = torch.tensor([1, 1, 2, 1, 1])
    confidences = torch.tensor([0.8, 0.9, 0.1, 0.7, 0.9])
    # 1 and 3 share 3/5: both others of class 1 go.
    assert suppressed(masks, classes, confidences, 0.3).tolist() == [1, 4, 2]
    assert suppressed(masks, classes, confidences, 1 / 3).tolist() == [1, 4, 2]
    assert suppressed(masks, classes, confidences, 0.34).tolist() == [1, 4, 0, 2]
    assert suppressed(masks, classes, confidences, 0.61).tolist() == [1, 4, 0, 3, 2]


def test_what_is_suppressed_suppresses_nothing() -> None:
    """The first beats the second, which would have beaten the third."""
    masks = torch.stack([box(0, 0, 4, 8), box(2, 0, 6, 8), box(4, 0, 8, 8)])
    assert suppressed(masks, torch.zeros(3), torch.tensor([3.0, 2.0, 1.0]), 0.3).tolist() == [0, 2]


def test_two_peaks_of_a_class_in_one_object_are_one_instance() -> None:
    proposals = torch.stack([box(0, 0, 4, 4), box(5, 5, 8, 8)])
    maps = peaks_at((0, 0), (1, 1), (6, 6), (2, 2))
    classes = torch.tensor([3, 3, 3, 5])
    confidences = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = retrieve(maps, classes, confidences, proposals, SETTINGS)
    assert found.classes.tolist() == [5, 3, 3] and found.scores.tolist() == pytest.approx([0.4, 0.3, 0.2])
    assert torch.equal(found.masks, proposals[[0, 1, 0]])


def test_a_map_of_zeros_and_an_empty_proposal_are_never_matched() -> None:
    """The second peak has no map; the first is outside the only proposal with pixels, all background."""
    maps = peaks_at((7, 7), (1, 1))
    maps[1] = 0
    proposals = torch.stack([torch.zeros(8, 8, dtype=torch.bool), box(0, 0, 3, 3)])
    classes = torch.tensor([1, 2])
    confidences = torch.tensor([0.5, 0.6])
    found = retrieve(maps, classes, confidences, proposals, replace(SETTINGS, gamma=0.1))
    assert torch.equal(found.masks, proposals[1:]) and found.classes.tolist() == [1]
    nothing = retrieve(maps, classes, confidences, proposals[:1], SETTINGS)
    assert nothing.masks.shape == (0, 8, 8)


def test_what_tells_background_decides_between_equals() -> None:
    """Both hold the peak, off their contours.

    The smaller one is retrieved where all else is background, the first one where nothing is.
    """
    maps, proposals = peaks_at((1, 1)), torch.stack([box(0, 0, 8, 4), box(0, 0, 4, 4)])
    one = [torch.tensor([0]), torch.tensor([1.0]), proposals, SETTINGS]
    assert torch.equal(retrieve(maps, *one).masks, proposals[1:])
    assert torch.equal(retrieve(maps, *one, responses=torch.ones(1, 8, 8)).masks, proposals[:1])


@pytest.mark.parametrize(("peaks", "number"), [(0, 3), (2, 0), (0, 0), (2, 1)])
def test_no_peak_no_proposal_or_one(peaks: int, number: int) -> None:
    maps = peaks_at((1, 1), (1, 2))[:peaks]
    proposals = torch.stack([box(0, 0, 3, 3), box(4, 4, 8, 8), box(0, 0, 8, 2)])[:number]
    assert retrieval_scores(maps, proposals, SETTINGS).shape == (peaks, number)
    found = retrieve(maps, torch.arange(peaks), torch.rand(peaks), proposals, SETTINGS)
    kept = peaks * number   # each of the two peaks, of classes of their own, has the only proposal
    assert found.masks.shape == (kept, 8, 8) and len(found.classes) == len(found.scores) == kept
    assert pseudo_masks(maps, proposals, SETTINGS, 5) == [[0] if number else []] * peaks
    places = ranked(matching_scores(maps, proposals, SETTINGS), maps, proposals, SETTINGS.overlap, 5)
    drawn = draw(candidates(places, 5), torch.Generator().manual_seed(0))
    assert drawn.tolist() == [0 if number else -1] * peaks


# pseudo masks

@pytest.mark.parametrize("k", [1, 5, 40, 99])
def test_pseudo_masks_as_a_literal_loop(k: int, scene: tuple[Tensor, Tensor]) -> None:
    maps, proposals = scene
    settings = replace(SETTINGS, overlap=0.35)
    f = literal(maps, proposals, settings, maps, 0)
    shares = (maps / maps.sum((1, 2), keepdim=True)).numpy()

    def held(j: int) -> float:
        """The most that a proposal holds of any map."""
        return max(share[proposals[j].numpy()].sum() for share in shares)

    expected = []
    for row in f:
        best = np.argsort(-row, kind="stable")[:k].tolist()
        expected.append([j for j in best if held(j) >= 0.35])
    assert pseudo_masks(maps, proposals, settings, k) == expected
    assert k < 40 or 0 < len(expected[0]) < 40


def test_the_overlap_is_that_with_any_peak_and_comes_after_the_ranking() -> None:
    """A peak in no proposal: all score 0, the first two are kept.

    Of these the second holds the other peak, as the third would.
    """
    proposals = torch.stack([box(0, 4, 2, 6), box(0, 0, 2, 2), box(0, 0, 3, 3)])
    maps = peaks_at((7, 7), (0, 0))
    assert pseudo_masks(maps, proposals, SETTINGS, 2) == [[1], [1, 2]]
    assert pseudo_masks(maps[:1], proposals, SETTINGS, 2) == [[]]   # none above the cut


def test_the_overlap_is_cut_below_a_fifth() -> None:
    maps = torch.zeros(1, 8, 8)
    maps[0, 0, 0] = 1
    maps[0, 4, 4] = 2
    maps[0, 7, 7] = 7
    proposals = torch.stack([box(0, 0, 1, 1), box(4, 4, 5, 5)])
    assert pseudo_masks(maps, proposals, SETTINGS, 2) == [[1]]   # 0.1 and 0.2
    assert pseudo_masks(maps, proposals, replace(SETTINGS, overlap=0.21), 2) == [[]]


def test_a_map_of_zeros_has_no_pseudo_mask() -> None:
    maps = peaks_at((1, 1), (1, 1))
    maps[0] = 0
    assert pseudo_masks(maps, box(0, 0, 3, 3)[None], SETTINGS, 5) == [[], [0]]


def test_every_candidate_is_drawn_about_equally_often_and_nothing_else() -> None:
    some = [torch.tensor([8, 3, 11]), torch.tensor([], dtype=torch.long), torch.tensor([5])]
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([draw(some, generator) for _ in range(900)])
    assert drawn.dtype == torch.long and (drawn[:, 1] == -1).all() and (drawn[:, 2] == 5).all()
    values, counts = drawn[:, 0].unique(return_counts=True)
    assert values.tolist() == [3, 8, 11] and counts.min() > 250


def test_draws_follow_from_their_generator() -> None:
    def twenty_draws(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [draw([torch.arange(9), torch.arange(5)], generator).tolist() for _ in range(20)]

    state = torch.random.get_rng_state()
    assert twenty_draws(3) == twenty_draws(3) != twenty_draws(4)
    assert torch.equal(torch.random.get_rng_state(), state)


# problems

def test_problems() -> None:
    maps, proposals = peaks_at((1, 1)), box(0, 0, 3, 3)[None]
    with pytest.raises(Problem, match="8 x 6 pixels and the proposals 8 x 8; bring both"):
        retrieve(maps[:, :6], torch.tensor([0]), torch.tensor([1.0]), proposals, SETTINGS)
    for wrong in (torch.nan, -1.0):
        with pytest.raises(Problem, match="negative values or some that are no finite"):
            pseudo_masks(maps.index_fill(1, torch.tensor([4]), wrong), proposals, SETTINGS, 1)
    with pytest.raises(Problem, match="k = 0: at least one"):
        pseudo_masks(maps, proposals, SETTINGS, 0)
    with pytest.raises(Problem, match="class responses"):
        retrieval_scores(maps, proposals, SETTINGS, responses=torch.zeros(2, 8, 8))


def test_settings() -> None:
    assert build(RetrievalSettings, VALUES, "iam.retrieval") == SETTINGS
    for key, value in (("width", 4), ("nms", 1.1), ("gamma", -1e-5)):
        with pytest.raises(Problem, match=f"iam.retrieval.{key}"):
            build(RetrievalSettings, VALUES | {key: value}, "iam.retrieval")
