"""Laws of the learning rate and of averaged weights."""

import pytest
import torch

from napari_coordgate.training.learner import averaging, cosine_factor, plateau


def test_the_cosine_rises_and_falls_to_nothing() -> None:
    factors = [cosine_factor(step, 1000, 100) for step in range(1000)]
    assert max(factors) == factors[100] == 1
    assert factors[:101] == sorted(factors[:101])
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert 0 < factors[0] <= 0.01
    assert 0 < factors[-1] < 1e-5
    assert all(
        0 < cosine_factor(step, total, 100) <= 1 for total in (1, 5, 10) for step in range(total)
    )


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_averaged_weights_stay_where_the_weights_stay(decay: float) -> None:
    average, mean = averaging(decay), [torch.zeros(2)]
    average(mean, [torch.full((2,), 4.0)], torch.tensor(0))
    assert (mean[0] > 0).all()
    for count in range(1, 300):
        average(mean, [torch.ones(2)], torch.tensor(count))
    torch.testing.assert_close(mean[0], torch.ones(2), atol=0.02, rtol=0)
    if decay == 0:
        assert torch.equal(mean[0], torch.ones(2))


@pytest.mark.parametrize(
    ("fall", "halvings"), [(0.0, [0, 0, 1, 1, 2, 2, 3]), (1e-6, [0, 0, 0, 0, 0, 0, 0])]
)
def test_a_plateau_lasts_as_long_as_its_patience(fall: float, halvings: list[int]) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1)], lr=1.0)
    scheduler = plateau(optimizer, patience=2)
    rates = []
    for validation in range(7):
        scheduler.step(1 - fall * validation)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.5**count for count in halvings]
