"""The moving average of a network's weights."""

import copy

import torch
from fixtures.toy_trainings import finished, trainer

from napari_care_losses.training.learner import DECAY


def test_the_average_is_that_of_the_formula():
    learner = trainer(average_weights=True)._learner
    network = learner.network
    expected = copy.deepcopy(network.state_dict())
    for step in (1, 2, 3, 100_000):
        with torch.no_grad():
            for weight in network.parameters():
                weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
        learner.update_average(step)
        decay = min(DECAY, (1 + step) / (10 + step))
        for name, weight in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * weight
    for name, weight in learner.average.state_dict().items():
        torch.testing.assert_close(weight, expected[name])
        assert not torch.equal(weight, network.state_dict()[name])


def test_the_average_is_validated_saved_and_shown_but_not_trained(monkeypatch):
    plain, averaged = finished(trainer("fft", amount=6)), finished(trainer("fft", amount=6, average_weights=True))
    # the steps are the same: only what becomes of their weights differs
    for name, weight in plain._learner.network.state_dict().items():
        assert torch.equal(weight, averaged._learner.network.state_dict()[name])
    assert [epoch.training_loss for epoch in plain.history] == [epoch.training_loss for epoch in averaged.history]
    assert [epoch.validation_loss for epoch in plain.history] != [epoch.validation_loss for epoch in averaged.history]
    best = averaged.model().weights
    assert any(not torch.equal(weight, plain.model().weights[name]) for name, weight in best.items())
    assert averaged.model().card.training["average_weights"] is True
    assert averaged.preview() is None or (averaged.preview().restored != plain.preview().restored).any()
