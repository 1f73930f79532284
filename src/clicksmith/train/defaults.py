"""Settings by data size, for who has no opinion."""

from clicksmith.train.settings import TrainSettings

MOST_L2 = 0.005


def default_settings(rows: int, *, products: bool = False) -> TrainSettings:
    """Return settings for `rows` training rows: small data take small batches and much L2, large data few epochs.

    Training is judged by AUC alone: log-loss before calibration, which `fit` does afterwards, ends it too early.

    products: whether the model is a sum of weights and products of vectors, which bears less L2 (`table_l2_for`).
    """
    batch = 64
    while batch < 8192 and rows > 400 * batch:
        batch *= 2
    return TrainSettings(
        batch_size=batch,
        epochs=max(3, min(50, 20_000_000 // max(rows, 1))),
        table_l2=table_l2_for(rows, products=products),
        patience=3,
        plateau_factor=0.5,
    )


def table_l2_for(rows: int, *, products: bool = False) -> float:
    """Return the L2 of tables where none is given: small data need more of it, large data next to none.

    Dense layers make up for short vectors, so that L2 only evens out rare ids: a power of the row count through what
    does well on Frappe (202,027 rows: 0.005) and what the open benchmark BARS tuned for Criteo (33 million: 1e-5), and
    not more than the former. A product of vectors shrinks with them: there L2 is a prior that weighs as much as two
    rows. `benchmarks/default_l2.py` measures both.

    >>> table_l2_for(8_000), table_l2_for(202_027), table_l2_for(33_000_000)
    (0.005, 0.005, 1e-05)
    >>> table_l2_for(8_000, products=True), table_l2_for(202_027, products=True)
    (0.0002, 1e-05)
    """
    wanted = 2 / max(rows, 1) if products else MOST_L2 * (202_027 / max(rows, 1)) ** 1.22
    return min(MOST_L2, float(f"{wanted:.1g}"))
