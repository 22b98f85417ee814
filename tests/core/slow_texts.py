"""Texts on which a detector of secrets or of instructions could take more than linear time."""

import time
from collections.abc import Callable

SLOW_TEXTS = [
    "x", "\u0301", "\U0001f469\u200d", "\U000e0041", "ignore all the ", "from now on ", "reveal system prompt ",
    "do not the user ", '"role":  ', "<system ", "<|a", "tool\n", "aB1" * 39 + " ", "a" * 70 + "\n", "eyJ",
    "eyJaaaaaaaa.", "sk-", "\\nsk-", "-----BEGIN PRIVATE KEY-----", '-----BEGIN PRIVATE KEY-----"',
    "PRIVATE KEY-----BEGIN ", "ghp_", "xoxb-", "\u200bAKIA" + "IOSFODNN7EXAMPLE", "\uff21KIA", "\xa0sk-a1",
]  # fmt: skip


def assert_linear_time(detect: Callable[[str], str], attack: str) -> None:
    """Ten times the text takes about ten times as long."""

    def seconds(length: int) -> float:
        text = attack * (length // len(attack))
        start_time = time.perf_counter()
        detect(text)
        return time.perf_counter() - start_time

    seconds(10_000)
    assert min(seconds(300_000) for _ in range(3)) < 60 * max(min(seconds(30_000) for _ in range(3)), 0.0002)
