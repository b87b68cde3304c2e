"""The table of ways to search, made of the stored results."""

from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import Row, load, measured


def search_speed() -> str:
    """Size, time and recall of each way, with the noise and the threads of the first rows."""
    stored = load("search_speed")
    rows: list[Row] = stored["rows"]
    settings, first = stored["settings"], rows[0]
    heads = ("search", "bytes per vector", "made in", "a query", "times faster", "recall@10", "least recall")
    lines = []
    for row in rows:
        if (row["noise"], row["threads"]) == (first["noise"], first["threads"]):
            least = min(other["recall"] for other in rows if other["name"] == row["name"])
            lines.append(
                [
                    row["name"],
                    str(row["bytes_per_vector"]),
                    f"{row['build_seconds']:.2f} s",
                    f"{row['query_ms']:.2f} ms",
                    f"{row['times_faster']:.1f}",
                    f"{row['recall']:.4f}",
                    f"{least:.4f}",
                ]
            )
    noises = " and ".join(str(noise) for noise in dict.fromkeys(row["noise"] for row in rows))
    funnel = ", ".join(
        f"{row['times_faster']:.1f} (noise {row['noise']}, threads {row['threads']})"
        for row in rows
        if row["name"] == "funnel, float16"
    )
    note = (
        f"{settings['vectors']} vectors: embeddings of {settings['words']} words of synthetic speech, "
        f"with noise of length {noises}; queries: {settings['queries']} words of other speakers. Shown: "
        f"noise {first['noise']}, threads {first['threads']}; least recall: of all. Times are medians, "
        f"times faster is the median of each query's ratio. The funnel's: {funnel}. "
    )
    return markdown_table(heads, lines, note + measured(stored))
