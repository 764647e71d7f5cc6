"""Lessons of filling modules: proposals on the squares of the maps, their ranking, and draws of it."""
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from iam_toys import (
    DEPTHS,
    FILLING,
    TRAINING,
    toy_dataset,
    toy_fcn,
    toy_masks,
    toy_photo,
    toy_proposals,
)
from sentences import is_one_sentence
from torch import Tensor

from lib.base.problem import Problem
from lib.data.dataset import Dataset, Sample
from lib.papers.iam.lessons import Batch, Lesson, batch_of, lessons, squared
from lib.papers.iam.method import class_responses, present, run_classifier, unsquared
from lib.papers.iam.prm import candidates, matching_scores, ranked, retrieval_scores
from lib.papers.iam.settings import FillingSettings
from lib.proposals.segments import unpack
from lib.proposals.store import open_proposals

SIDE = TRAINING.map_side


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("iam")
    dataset = toy_dataset(folder / "data", train=7, val=1, test=1)
    return dataset, toy_proposals(dataset, folder / "proposals", ("train",))


@pytest.fixture(scope="module")
def taught(data: tuple[Dataset, Path]) -> dict[str, list[Lesson]]:
    """By reading of the ranking; so few proposals are ranked that the readings differ."""
    dataset, folder = data
    samples = dataset.split("train")
    loaders = open_proposals(folder, "train")
    return {ranking: lessons(toy_fcn(), samples, loaders, settings(ranking), TRAINING)
            for ranking in ("matching", "retrieval")}


def settings(ranking: str) -> FillingSettings:
    return replace(FILLING, ranking=ranking, most=4, retrieval=replace(FILLING.retrieval, gamma=1e-3))


def masks_of(lesson: Lesson) -> Tensor:
    return torch.from_numpy(unpack(lesson.masks, (SIDE, SIDE)))


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


# squares

def test_squared_by_hand() -> None:
    """2 x 4 pixels on a square of 8: doubled, below is padding.

    Of 8 x 4 on 4 every second pixel, on the right is padding.
    """
    mask = torch.tensor([[[1, 0, 0, 1], [0, 0, 1, 1]]], dtype=torch.bool)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, :2] = True
    expected[:2, 6:] = True
    expected[2:4, 4:] = True
    assert torch.equal(squared(mask, 8)[0], expected) and squared(mask, 8).dtype == torch.bool
    tall = torch.arange(32).view(1, 8, 4)
    picked = torch.zeros(4, 4, dtype=torch.bool)
    picked[1, 0] = True
    assert torch.equal(squared(tall == 13, 4)[0], picked)
    assert not squared(tall == 12, 4).any()   # row 3, column 1 is the middle one
    both = torch.stack([tall[0] < 0, tall[0] == 13])
    assert torch.equal(squared(both, 4), torch.stack([picked & False, picked]))


def test_squared_at_the_ends() -> None:
    assert squared(torch.ones(0, 5, 9, dtype=torch.bool), 6).shape == (0, 6, 6)
    thin = squared(torch.ones(1, 1, 100, dtype=torch.bool), 10)   # a tenth of a row is still one
    assert thin.sum() == 10 and thin[0, 0].all()
    assert squared(torch.ones(1, 30, 30, dtype=torch.bool), 7).all()


@pytest.mark.parametrize("shape", [(20, 33), (37, 16)])
def test_squares_and_the_way_back_are_of_the_same_place(shape: tuple[int, int]) -> None:
    """Unsquared at the image's size, a proposal's square covers it but for its edge."""
    mask = torch.zeros(1, *shape, dtype=torch.bool)
    mask[0, 4:14, 6:15] = True
    back = unsquared(squared(mask, 64).float(), *shape) > 0.5
    assert overlap(back, mask) > 0.85


# lessons

def test_peaks_of_labels_alone_and_what_the_trunk_made_of_the_images(data: tuple[Dataset, Path],
                                                                     taught: dict[str, list[Lesson]]) -> None:
    samples = data[0].split("train")
    assert [lesson.id for lesson in taught["matching"]] == [sample.id for sample in samples]
    assert [lesson.labels for lesson in taught["matching"]] == [sample.labels for sample in samples]
    for lesson, sample in zip(taught["matching"], samples, strict=True):
        # Nothing but the labelled is there to be seen.
        output = run_classifier(toy_fcn(), [sample.photo()], TRAINING.side, SIDE, present(2))
        assert sorted({toy_fcn().classes[k] for k in output.peaks.label}) == list(sample.labels)
        assert len(output.peaks) == len(lesson.prms)
        expected = output.prms / output.prms.amax((1, 2), keepdim=True)
        assert lesson.prms.dtype == torch.half and torch.allclose(lesson.prms.float(), expected, atol=2e-3)
        assert [level.shape for level in lesson.levels] == [(depth, 8, 8) for depth in DEPTHS]
        for mine, level in zip(lesson.levels, output.levels, strict=True):
            assert mine.dtype == torch.half and torch.allclose(mine.float(), level[0], atol=1e-2)


def test_only_labelled_peaks_count(data: tuple[Dataset, Path]) -> None:
    """An image that shows red and is labelled green has no lesson; one that shows both has one peak."""
    loaders = open_proposals(data[1], "train")
    samples = [replace(sample, labels=("green",)) for sample in data[0].split("train")]
    taught = lessons(toy_fcn(), samples, loaders, FILLING, TRAINING)
    peaks = [(lesson.id, len(lesson.prms)) for lesson in taught]
    assert peaks == [("train1", 1), ("train4", 1), ("train5", 1)]
    both = next(sample for sample in samples if sample.id == "train4")   # blue and green
    inside = masks_of(taught[1])[taught[1].places[0, 0]]
    truth = squared(torch.from_numpy(both.mask("class_masks") == 2)[None], SIDE)[0]
    assert overlap(inside, truth) > 0.45   # the green object, or its upper half, or its rows


def test_at_most_so_many_peaks_of_a_class(data: tuple[Dataset, Path],
                                          taught: dict[str, list[Lesson]]) -> None:
    """The last image has two red objects."""
    last = data[0].split("train")[6:]
    few, = lessons(toy_fcn(), last, open_proposals(data[1], "train"), replace(FILLING, peaks=1), TRAINING)
    assert [len(one.prms) for one in taught["matching"]] == [1, 1, 1, 2, 2, 2, 2] and len(few.prms) == 1


def test_where_the_square_shows_the_image(data: tuple[Dataset, Path],
                                          taught: dict[str, list[Lesson]]) -> None:
    for lesson, sample in zip(taught["matching"], data[0].split("train"), strict=True):
        height, width = (25, 32) if sample.photo().width == 56 else (32, 25)   # 44 of 56 pixels
        assert lesson.valid.shape == (32, 32)
        assert lesson.valid[:height, :width].all() and lesson.valid.sum() == height * width


@pytest.mark.parametrize("ranking", ["matching", "retrieval"])
def test_every_k_takes_the_first_of_the_ranking(ranking: str, data: tuple[Dataset, Path],
                                                taught: dict[str, list[Lesson]]) -> None:
    """Scores at the proposals' own size, best first; what holds too little of every map is not there.

    Lessons see several photographs in a forward pass, so that their scores differ from those of one alone by
    float noise. Of proposals whose scores are that close either may come first.
    """
    for lesson, sample in zip(taught[ranking], data[0].split("train"), strict=True):
        masks = torch.from_numpy(toy_masks(sample).copy())
        scores, expected = ranking_of(sample, masks, ranking)
        assert lesson.places.shape == (len(lesson.prms), 4) and lesson.places.max() + 1 == len(lesson.masks)
        for k in (1, 2, 4):
            mine = candidates(lesson.places, k)
            theirs = candidates(expected, k)
            assert [len(some) for some in mine] == [len(some) for some in theirs]
            assert max(map(len, mine)) <= k
            for own_scores, some, best in zip(scores, mine, theirs, strict=True):
                assert len(set(some.tolist())) == len(some)   # none twice
                assert are_as_good(masks_of(lesson)[some], squared(masks, SIDE), own_scores, best)


def ranking_of(sample: Sample, masks: Tensor, ranking: str) -> tuple[Tensor, Tensor]:
    """Scores `(P, J)` of proposals in a forward pass of one photograph, and the places of the best."""
    retrieval = settings(ranking).retrieval
    output = run_classifier(toy_fcn(), [sample.photo()], TRAINING.side, SIDE, present(2))
    own = unsquared(output.prms, *masks.shape[1:])
    score = matching_scores
    if ranking == "retrieval":
        score = partial(retrieval_scores, responses=class_responses(output, masks.shape[1:]))
    scores = score(own, masks, retrieval)
    return scores, ranked(scores, own, masks, retrieval.overlap, 4)


def are_as_good(chosen: Tensor, squares: Tensor, scores: Tensor, best: Tensor) -> bool:
    """Whether each of the `chosen` squares is of a proposal with the score of the `best` at its place."""
    for square, expected in zip(chosen, scores[best], strict=True):
        is_its_proposal = (squares == square).flatten(1).all(1)
        if not torch.isclose(scores[is_its_proposal], expected, rtol=0, atol=1e-5).any():
            return False
    return True


def test_the_two_readings_differ(taught: dict[str, list[Lesson]]) -> None:
    """Background counts in one alone: proposals are smaller there."""
    area = {}
    for name, some in taught.items():
        shares = [masks_of(one)[torch.cat(candidates(one.places, 2))].float().mean() for one in some]
        area[name] = np.mean(shares)
    assert area["retrieval"] < area["matching"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("ranking", ["matching", "retrieval"])
def test_an_image_without_proposals_that_hold_enough(data: tuple[Dataset, Path], number: int,
                                                     ranking: str) -> None:
    samples = data[0].split("train")[:1]
    nothing = np.zeros((number, 14, 11), dtype=bool)
    loaders = {samples[0].id: lambda: nothing}
    lesson, = lessons(toy_fcn(), samples, loaders, replace(FILLING, ranking=ranking), TRAINING)
    assert lesson.places.shape == (1, number) and (lesson.places == -1).all() and len(lesson.masks) == 0
    assert batch_of([lesson], 5, torch.Generator(), torch.device("cpu")) is None


def test_no_image_has_a_peak(data: tuple[Dataset, Path]) -> None:
    samples: list[Sample] = data[0].split("train")
    sentence = ("toy: none of the 7 training images has a peak of one of its labels; "
                "train the classifier longer")
    with pytest.raises(Problem, match=sentence) as caught:
        lessons(toy_fcn(bias=-50), samples, open_proposals(data[1], "train"), FILLING, TRAINING)
    assert is_one_sentence(caught.value)


# batches

def batch(chosen: list[Lesson], k: int, seed: int = 0) -> Batch | None:
    return batch_of(chosen, k, torch.Generator().manual_seed(seed), torch.device("cpu"))


def test_a_batch_leaves_out_peaks_without_candidates(taught: dict[str, list[Lesson]]) -> None:
    first, second, third = (taught["matching"][i] for i in (0, 3, 4))
    assert [len(one.prms) for one in (first, second, third)] == [1, 2, 2]
    second = replace(second, places=torch.stack([torch.full((4,), -1), second.places[1]]))
    empty = replace(first, places=torch.full((1, 4), -1), masks=first.masks[:0])
    chosen = [first, second, empty, third]
    given = batch(chosen, 1)
    assert given.image.tolist() == [0, 1, 3, 3]
    assert given.prms.dtype == torch.float
    assert torch.equal(given.prms, torch.cat([first.prms, second.prms[1:], third.prms]).float())
    best = [(first, 0), (second, 1), (third, 0), (third, 1)]
    assert torch.equal(given.targets, torch.stack([masks_of(one)[one.places[p, 0]] for one, p in best]))
    assert torch.equal(given.valid, torch.stack([one.valid for one, _ in best]))
    for i, level in enumerate(given.levels):
        assert torch.equal(level, torch.stack([one.levels[i] for one in chosen]).float())
    assert len(given.levels) == len(DEPTHS)
    assert batch([empty, empty], 5) is None


def test_the_best_alone_or_any_of_k(taught: dict[str, list[Lesson]]) -> None:
    lesson = taught["matching"][0]
    masks = [masks_of(lesson)[place][None].numpy().tobytes() for place in lesson.places[0] if place >= 0]
    assert len(set(masks)) >= 3
    for k in (1, 2, 4):
        drawn = {batch([lesson], k, seed).targets.numpy().tobytes() for seed in range(40)}
        assert drawn == set(masks[:k])


def test_draws_follow_from_the_generator(taught: dict[str, list[Lesson]]) -> None:
    some = taught["matching"]
    again = [batch(some, 4, seed).targets for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])


def test_photographs_are_of_both_shapes() -> None:
    assert {toy_photo(("red",), seed)[0].size for seed in range(4)} == {(56, 44), (44, 56)}
