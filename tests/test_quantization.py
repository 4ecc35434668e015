"""Rounding to few bits: grids, scales, and GPTQ against rounding to the nearest."""

import pytest
import torch

from labs.model.quantization import gptq, round_to_nearest, scales


@pytest.mark.parametrize("group", ["tensor", "row", 8])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_lie_on_the_grid_and_the_error_within_half_a_step(bits, group):
    w = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    q = round_to_nearest(w, bits, group)
    flat = {"tensor": (1, -1), "row": (6, -1), 8: (24, -1)}[group]
    for original, rounded in zip(w.reshape(flat), q.reshape(flat), strict=True):
        step = original.abs().max() / (2 ** (bits - 1) - 1)
        codes = rounded / step
        torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
        assert codes.abs().max() < 2 ** (bits - 1) - 0.5
        assert (rounded - original).abs().max() <= step / 2 * 1.0001


def test_zeros_stay_and_need_no_scale():
    w = torch.zeros(2, 8)
    assert torch.equal(round_to_nearest(w, 4), w) and torch.equal(scales(w, 4, 8), w + 1)


def test_gptq_lowers_the_error_of_the_output_not_of_the_weights():
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(16, 32, generator=generator)
    x = torch.randn(400, 32, generator=generator) @ torch.randn(32, 32, generator=generator)
    near, passed_on = round_to_nearest(w, 3), gptq(w, x, 3)

    def output_error(q):
        return (x @ (q - w).T).square().sum()

    assert output_error(passed_on) < 0.7 * output_error(near)
    assert (passed_on - w).square().sum() > (near - w).square().sum()


def test_gptq_is_optimal_brain_surgeon_column_by_column():
    """Against the update that inverts the Hessian of the columns left, anew for each column."""
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(5, 12, generator=generator, dtype=torch.double)
    x = torch.randn(60, 12, generator=generator, dtype=torch.double) @ torch.randn(
        12, 12, generator=generator, dtype=torch.double
    )
    hessian = x.T @ x
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(12, dtype=torch.double)
    rest, step = w.clone(), scales(w, 3, 12)[:, 0]
    for j in range(12):
        inverse = torch.linalg.inv(hessian[j:, j:])
        off = rest[:, j] - (rest[:, j] / step).round().clamp(-3, 3) * step
        rest[:, j:] -= off[:, None] * inverse[0] / inverse[0, 0]
    torch.testing.assert_close(gptq(w, x, 3), rest)


def test_gptq_is_rounding_when_inputs_are_uncorrelated():
    w = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(gptq(w, torch.eye(8) * 10, 4), round_to_nearest(w, 4))
