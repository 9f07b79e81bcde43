"""Suspiciousness measures: how strongly a unit's activity is associated with failure."""

from __future__ import annotations

import numpy as np

from temper.artefacts.rankings import Indices, Scores

# The positions of the four counts in the last axis of a spectrum.
ACTIVE_FAILED, INACTIVE_FAILED, ACTIVE_PASSED, INACTIVE_PASSED = range(4)


def tarantula(counts: Indices) -> Scores:
    """Return (cf / (cf + uf)) / (cf / (cf + uf) + cs / (cs + us)) of counts (..., 4), 0 where cf is 0.

    ``cf`` is the number of failures with the unit active, ``uf`` inactive; ``cs`` and ``us`` those of passes.

    Source: Jones and Harrold (2005), Empirical Evaluation of the Tarantula Automatic Fault-Localization Technique,
    section 2.
    """
    cf, uf, cs, us = _parts(counts)
    failed, passed = _divided(cf, cf + uf), _divided(cs, cs + us)
    return _divided(failed, failed + passed)


def ochiai(counts: Indices) -> Scores:
    """Return cf / sqrt((cf + uf) (cf + cs)) of counts (..., 4), 0 where cf is 0.

    Source: Abreu, Zoeteweij and van Gemund (2006), An Evaluation of Similarity Coefficients for Software Fault
    Localization, section 3.
    """
    cf, uf, cs, _ = _parts(counts)
    return _divided(cf, np.sqrt((cf + uf) * (cf + cs)))


def dstar(counts: Indices, star: float) -> Scores:
    """Return cf^star / (cs + uf) of counts (..., 4): 0 where cf is 0, and inf where only the denominator is.

    Source: Wong, Debroy, Gao and Li (2014), The DStar Method for Effective Software Fault Localization, section III.
    """
    cf, uf, cs, _ = _parts(counts)
    scores = _divided(cf**star, cs + uf)
    # Perfect evidence: active on all failures and on no pass, so it ranks first.
    scores[(cf > 0) & (cs + uf == 0)] = np.inf
    return scores


def _parts(counts: Indices) -> tuple[Scores, Scores, Scores, Scores]:
    cf, uf, cs, us = np.moveaxis(counts.astype(np.float64), -1, 0)
    return cf, uf, cs, us


def _divided(above: Scores, below: Scores) -> Scores:
    # 0 where the denominator is 0: no activity, no suspicion.
    quotient: Scores = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return quotient
