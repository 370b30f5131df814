"""Tail probabilities of the distributions that the tests need, in plain Python: SciPy is not there where models serve.

Each takes and returns floats and is right to about 12 digits, far into the tails too.
"""

from __future__ import annotations

import math
from itertools import count

TINY = 1e-300  # keeps continued fractions off a division by zero (Lentz' method)
CLOSE = 1e-15


def normal_tails(z: float) -> float:
    """P(|Z| ≥ |z|) of the standard normal distribution."""
    return math.erfc(abs(z) / math.sqrt(2))


def kolmogorov_tail(x: float) -> float:
    """P(K ≥ x) of Kolmogorov's distribution.

    The two series of https://en.wikipedia.org/wiki/Kolmogorov%E2%80%93Smirnov_test#Kolmogorov_distribution: below 1 the
    second one converges faster.
    """
    if x < 0.04:  # the tail is 1 to within a double
        return 1.0
    if x < 1:
        terms = (math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
        return 1 - math.sqrt(2 * math.pi) / x * sum(terms)
    return min(1.0, 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 8)))


def chi_squared_tail(x: float, degrees: float) -> float:
    """P(X ≥ x) of the chi-squared distribution: the regularized incomplete gamma function Q(degrees / 2, x / 2).

    Its series below degrees + 2, its continued fraction above: https://dlmf.nist.gov/8.11.E4, https://dlmf.nist.gov/8.9.E2
    """
    if x <= 0:
        return 1.0
    shape, half = degrees / 2, x / 2
    front = math.exp(shape * math.log(half) - half - math.lgamma(shape))
    if half < shape + 1:
        term = total = 1 / shape
        for k in count(1):
            term *= half / (shape + k)
            total += term
            if term < total * CLOSE:
                return max(0.0, 1 - front * total)
    return front * _gamma_fraction(shape, half)


def student_tails(t: float, degrees: float) -> float:
    """P(|T| ≥ |t|) of Student's distribution: the regularized incomplete beta function.

    https://en.wikipedia.org/wiki/Student%27s_t-distribution#Cumulative_distribution_function
    """
    if not math.isfinite(t):
        return 0.0
    return _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def _gamma_fraction(shape: float, x: float) -> float:
    """The continued fraction of Γ(shape, x) / (x^shape e^-x), by Lentz' method."""
    b = x + 1 - shape
    c, d = 1 / TINY, 1 / b
    result = d
    for k in count(1):
        factor = k * (shape - k)
        b += 2
        d = 1 / (factor * d + b or TINY)
        c = b + factor / c or TINY
        result *= c * d
        if abs(c * d - 1) < CLOSE:
            break
    return result


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), by the continued fraction https://dlmf.nist.gov/8.17.E22."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _incomplete_beta(1 - x, b, a)
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - beta) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or TINY)
    result = d
    for k in range(1, 10_000):
        even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
        for factor in (even, odd):
            d = 1 / (1 + factor * d or TINY)
            c = 1 + factor / c or TINY
            result *= c * d
        if abs(c * d - 1) < CLOSE:
            break
    return front * result
