"""Word error rate of the server over the English sets, beside bare faster-whisper with its defaults in the same run."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from benchmarks import rival
from benchmarks.recordings import english_recordings
from benchmarks.running import server
from benchmarks.scoring import Score, Scorer


def main(quality: str = "accurate") -> None:
    """Print a row a set, then all together."""
    parts = english_recordings()
    with server(quality=quality) as running:
        with ThreadPoolExecutor(8) as pool:
            ours = dict(
                zip(
                    (str(part.path) for part in parts),
                    pool.map(lambda part: running.transcribe(part.path), parts),
                    strict=True,
                )
            )
        stock = rival.run(running.data_dir / "models" / "base", "sequential", [part.path for part in parts])
    scorer = Scorer()
    our_scores: dict[str, Score] = defaultdict(Score)
    stock_scores: dict[str, Score] = defaultdict(Score)
    for part in parts:
        our_scores[part.set_name] += scorer.score(part.reference, ours[str(part.path)].transcript or "")
        stock_scores[part.set_name] += scorer.score(part.reference, stock.texts[str(part.path)])
    print(f"| set | words | server, {quality}: WER % | faster-whisper 1.2.1 defaults: WER % | difference |")
    print("|---|---|---|---|---|")
    our_total, stock_total = sum(our_scores.values(), Score()), sum(stock_scores.values(), Score())
    for name in sorted(our_scores):
        _row(name, our_scores[name], stock_scores[name])
    _row("**all**", our_total, stock_total)


def _row(name: str, ours: Score, stock: Score) -> None:
    print(f"| {name} | {ours.words} | {ours.rate:.2f} | {stock.rate:.2f} | {ours.rate - stock.rate:+.2f} |")


if __name__ == "__main__":
    main()
