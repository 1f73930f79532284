"""Settings by data size, for who has no opinion."""

from clicksmith.train.settings import TrainSettings


def default_settings(rows: int) -> TrainSettings:
    """Return settings for `rows` training rows: small data take small batches and much L2, large data few epochs."""
    batch = 64
    while batch < 8192 and rows > 400 * batch:
        batch *= 2
    return TrainSettings(
        batch_size=batch,
        epochs=max(3, min(50, 20_000_000 // max(rows, 1))),
        table_l2=table_l2_for(rows),
        monitor="auc-logloss",
        patience=3,
        plateau_factor=0.5,
    )


def table_l2_for(rows: int) -> float:
    """Return the L2 of tables where none is given: small data need much of it, large data next to none.

    A power of the row count through the values that the open benchmark BARS tuned for Frappe (202,027 rows: 0.05)
    and Criteo (33 million rows: 1e-5), and not more than the former.

    >>> table_l2_for(8_000), table_l2_for(202_027), table_l2_for(33_000_000)
    (0.05, 0.05, 1e-05)
    """
    return min(0.05, float(f"{0.05 * (202_027 / max(rows, 1)) ** 1.67:.1g}"))
