"""mi-SVM finds superpixels planted in positive images, and more of them than without re-labelling."""
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from lib.base.problem import Problem
from lib.papers.fcn_gbp.mi_svm import Bags, MiSvm, relabel, train_mi_svm
from lib.papers.fcn_gbp.settings import ZofSettings

USUAL = ZofSettings(superpixels=15, rounds=10, negatives=20_000, c=1.0, balanced=True)
IMAGES, SUPERPIXELS = 40, 15


class Planted(NamedTuple):
    """Bags, and which superpixels show which class `(N, K)`."""
    bags: Bags
    truth: np.ndarray

    def mistakes(self, svm: MiSvm) -> float:
        return float(((svm.decide(self.bags.features) > 0) != self.truth).mean())

    def hits(self, svm: MiSvm) -> float:
        return float((svm.decide(self.bags.features) > 0)[self.truth].mean())


def planted(seed: int = 0) -> Planted:
    """Each image shows one class; three of its superpixels do, the others are much the same in all images."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(IMAGES, SUPERPIXELS, 6))
    truth = np.zeros((IMAGES, SUPERPIXELS, 2), dtype=bool)
    labels = np.eye(2, dtype=bool)[np.arange(IMAGES) % 2]
    for i in range(IMAGES):
        k = i % 2
        features[i, :3, k] += 4
        features[i, 3:, 2] += rng.choice([-2, 2], SUPERPIXELS - 3)
        truth[i, :3, k] = True
    features[..., 5] = 100 + 1000 * features[..., 5]   # neither centred nor of the others' size
    images = np.repeat(np.arange(IMAGES), SUPERPIXELS)
    return Planted(Bags(features.reshape(-1, 6), images, labels, ["cat", "dog"]), truth.reshape(-1, 2))


def train(data: Planted, seed: int = 0, **change: float) -> MiSvm:
    return train_mi_svm(data.bags, replace(USUAL, **change), seed)


def test_finds_the_planted_superpixels_and_beats_plain_labelling() -> None:
    data = planted()
    plain, ours = train(data, rounds=1), train(data, rounds=30)
    unweighted = train(data, rounds=30, balanced=False)
    assert (plain.rounds == 1).all()
    for svm in (ours, unweighted):
        assert ((svm.rounds > 2) & (svm.rounds < 30)).all()
    for part in (data, planted(seed=1)):   # also where it has not learnt
        assert part.mistakes(unweighted) < 0.03
        assert 0.03 < part.mistakes(ours) < 0.2
        assert part.mistakes(plain) > 0.35
        assert part.hits(ours) > 0.85
        assert part.hits(unweighted) > 0.85


def literal(bags: Bags, k: int, settings: ZofSettings) -> tuple[np.ndarray, float]:
    """Andrews et al., figure 1 (mi-SVM), with loops: decision values and their spread."""
    x = (bags.features - bags.features.mean(0)) / bags.features.std(0)
    shown = [bool(bags.labels[image, k]) for image in bags.images]
    y = [int(is_shown) for is_shown in shown]
    for _ in range(settings.rounds):
        class_weight = "balanced" if settings.balanced else None
        svm = LinearSVC(C=settings.c, class_weight=class_weight, dual=False, tol=1e-6).fit(x, y)
        f = svm.decision_function(x)
        new = [int(f[i] > 0) if is_shown else 0 for i, is_shown in enumerate(shown)]
        for image in set(bags.images.tolist()):
            members = [i for i in range(len(y)) if bags.images[i] == image]
            if bags.labels[image, k] and sum(new[i] for i in members) == 0:
                new[max(members, key=lambda i: f[i])] = 1
        if new == y:
            break
        y = new
    return f, float(f.std())


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("rounds", [1, 2, 30])
def test_as_the_literal_loop(rounds: int, balanced: bool) -> None:
    bags = planted(seed=3).bags
    settings = replace(USUAL, rounds=rounds, c=0.5, balanced=balanced)
    svm = train_mi_svm(bags, settings, seed=0)
    for k in range(2):
        decision, spread = literal(bags, k, settings)
        assert np.allclose(svm.decide(bags.features)[:, k], decision, atol=0.02)
        assert np.isclose(svm.spread[k], spread, rtol=0.02)
        probability = 1 / (1 + np.exp(-decision / spread))
        assert np.allclose(svm.probability(bags.features)[:, k], probability, atol=0.01)


def test_relabel_by_hand() -> None:
    """Image 7 has one above zero; image 2 has none, so that its best one is kept; ties go to the first."""
    images = np.array([7, 2, 7, 2, 4, 4])
    positive = relabel(np.array([0.5, -0.3, -0.1, -0.2, -1.0, -1.0]), images)
    assert positive.tolist() == [True, False, False, True, True, False]


def test_negatives_are_bounded_and_drawn_by_the_seed() -> None:
    data = planted()
    few = train(data, seed=1, negatives=30)
    assert np.array_equal(few.weights, train(data, seed=1, negatives=30).weights)
    assert not np.allclose(few.weights, train(data, seed=2, negatives=30).weights)
    all_of_them = train(data, negatives=300)   # 20 images of 15: no choice
    assert np.array_equal(all_of_them.weights, train(data, negatives=10_000).weights)
    assert data.mistakes(few) < data.mistakes(train(data, rounds=1))


GOOD = planted().bags
THREE_CLASSES = {"classes": ["cat", "dog", "cow"],
                 "labels": np.array([[True, False, False], [False, True, False]] * 20)}


@pytest.mark.parametrize("change, sentence", [
    (THREE_CLASSES, 'no training image shows the class "cow"'),
    ({"labels": GOOD.labels | (True, False)}, 'every training image shows the class "cat"'),
    ({"labels": np.where(np.arange(40)[:, None] == 3, False, GOOD.labels)}, "image 3 has no label"),
    ({"labels": np.concatenate([GOOD.labels, [[True, False]]])}, "image 40 has no superpixels"),
    ({"features": np.where(GOOD.images[:, None] == 0, np.nan, GOOD.features)}, "not finite"),
    ({"images": GOOD.images[1:]}, "one image for each superpixel"),
], ids=["not shown", "always shown", "without label", "without superpixels", "not finite", "sizes"])
def test_bad_input_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(Problem, match=sentence):
        train_mi_svm(replace(GOOD, **change), USUAL, seed=0)
