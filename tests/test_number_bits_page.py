"""The formats are PyTorch's, and the explorable of a number's bits converts as PyTorch does."""

import itertools
import math

import pytest
import torch

from labs.train.formats import FORMATS, page_data
from tests.browser import outputs

NUMBERS = {"a small gradient, 1e-8": 1e-8, "one third": 1 / 3, "65504": 65504.0}
DATA = page_data(NUMBERS)
VALUES = [
    0.0, 1e-8, -1e-8, 6e-8, 1 / 3, -1 / 3, 1.0, 1.00390625, 1.01171875, 0.1, 2049.0, 2051.0, 448.0,
    464.0, 465.0, 57344.0, 61440.0, 65504.0, 65519.0, 65520.0, 1e6, 3e38, 5.9e-8, 2.0**-14, 1e-3,
]  # fmt: skip
STEPS = [2**i for i in range(25)]
SETTINGS = list(itertools.product(VALUES, range(len(FORMATS)), (1, 2**10, 2**16)))


@pytest.fixture
def figure(open_explorable):
    """A page with nothing but the explorable."""
    return open_explorable("number_bits", DATA)


def convert(x, dtype):
    """The number PyTorch stores, and its bits. From double in one step, as the page does."""
    y = torch.tensor(x, dtype=torch.float64).to(dtype)
    size = y.element_size()
    code = y.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[size]).item()
    return y.double().item(), format(code % 2 ** (8 * size), f"0{8 * size}b")


@pytest.mark.parametrize("f", FORMATS, ids=lambda f: f.name)
def test_limits_are_those_of_pytorch(f):
    known = torch.finfo(f.dtype)
    assert (f.bits, f.largest, f.epsilon) == (known.bits, known.max, known.eps)
    assert f.smallest_normal == known.smallest_normal
    assert convert(f.smallest, f.dtype)[0] == f.smallest > 0
    assert convert(f.smallest / 2, f.dtype)[0] == 0  # a tie goes to the even number, 0


def test_the_page_converts_as_pytorch_does(figure):
    places = [
        {"number": repr(x), "format": f, "scale": STEPS.index(scale)} for x, f, scale in SETTINGS
    ]
    kinds = set()
    for (x, f, scale), seen in zip(SETTINGS, outputs(figure, places), strict=True):
        y, bits = convert(x * scale, FORMATS[f].dtype)
        if abs(x * scale) > 3.4028235677973366e38:  # beyond fp32 and bf16
            continue
        where = (x, FORMATS[f].name, scale)
        stored = float(seen["stored"].replace("Infinity", "inf"))
        assert stored == y and seen["bits"] == bits, where
        assert float(seen["recovered"].replace("Infinity", "inf")) == y / scale, where
        if math.isfinite(y) and x:
            assert float(seen["error"]) == pytest.approx(abs(y / scale - x) / abs(x), abs=1e-15)
        kinds.add("inf" if math.isinf(y) else "0" if y == 0 else "number")
    assert kinds == {"inf", "0", "number"}


def test_a_bit_is_flipped_by_pointer_and_keyboard(figure):
    outputs(figure, [{"number": "1", "format": 1, "scale": 0}])
    figure.click("[data-bit='0']")
    assert outputs(figure, [{}])[0]["stored"] == "-1"
    figure.focus("[data-bit='15']")
    figure.keyboard.press("Enter")
    assert float(outputs(figure, [{}])[0]["stored"]) == -(1 + 2**-10)
    assert figure.evaluate("document.activeElement.dataset.bit") == "15"


def test_a_word_that_is_no_number_changes_nothing(figure):
    before = outputs(figure, [{"number": "0.5"}])
    assert outputs(figure, [{"number": "half"}]) == before
    assert figure.get_attribute("[data-control=number]", "aria-invalid") == "true"


def test_a_known_number_is_taken_and_reset_returns(figure):
    outputs(figure, [{"known": 2}])
    assert outputs(figure, [{}])[0]["stored"] == "65504"
    figure.click(".explorable-reset")
    assert outputs(figure, [{}])[0]["stored"] == "0"
