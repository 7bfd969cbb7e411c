"""Generated businesses, and faults planted into them: what the model is measured on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class Generated:
    """Matrices of days × businesses."""

    size: Floats
    texts: Floats
    failed: Floats
    requests: Floats
    cost: Floats


def generate(rng: np.random.Generator, businesses: int, days: int, *, heavy: bool) -> Generated:
    size = np.exp(rng.uniform(0, np.log(600), businesses))
    wave = _mean(rng, size, days)
    noise = _noise(rng, wave.shape, heavy=heavy)
    texts = rng.poisson(wave * noise).astype(float)
    rate = np.clip(rng.lognormal(np.log(0.02), 0.6, businesses), 0.002, 0.2)
    day_rate = np.clip(rate * _noise(rng, wave.shape, heavy=heavy, least=0.1), 0, 0.9)
    failed = rng.binomial(texts.astype(int), day_rate).astype(float)
    requests = rng.poisson(wave * 1.4 * _noise(rng, wave.shape, heavy=heavy)).astype(float)
    price = rng.lognormal(np.log(0.01), 0.5, businesses)
    each = rng.gamma(np.maximum(requests, 1e-9) / 0.7, 0.7 * price) * _noise(rng, wave.shape, heavy=heavy)
    return Generated(size, texts, failed, requests, np.where(requests > 0, each, 0.0))


def _mean(rng: np.random.Generator, size: Floats, days: int) -> Floats:
    businesses = len(size)
    day = np.arange(days)[:, None]
    week = rng.lognormal(0, 0.2, (7, businesses))
    week[6] *= np.where(rng.random(businesses) < 0.6, 0.0, 0.5)
    week[5] *= np.where(rng.random(businesses) < 0.25, 0.0, 0.7)
    week /= week.mean(axis=0)
    trend = np.exp(rng.normal(0, 0.002, businesses) * day)
    begins = np.where(rng.random(businesses) < 0.1, rng.integers(10, days, businesses), -100)
    ramp = np.clip((day - begins) / 45, 0, 1)
    log_noise = np.zeros((days, businesses))
    for t in range(1, days):
        log_noise[t] = 0.6 * log_noise[t - 1] + rng.normal(0, 0.08, businesses)
    holiday = np.ones((days, 1))
    holiday[rng.choice(days, max(days // 45, 1), replace=False)] = 0.3
    result: Floats = size * week[np.arange(days) % 7] * trend * ramp * np.exp(log_noise) * holiday
    return result


def _noise(rng: np.random.Generator, shape: tuple[int, ...], *, heavy: bool, least: float = 0.02) -> Floats:
    if heavy:
        drawn = np.exp(np.clip(0.12 * rng.standard_t(5, shape), -3, 3))
        result: Floats = drawn / drawn.mean()
        return result
    dispersion = rng.uniform(least, least + 0.1, shape[1])
    return rng.gamma(1 / dispersion, dispersion, shape)
