"""``make bench`` writes what the book shows of the timings to ``book/bench.json``."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from descentlab import chapters

BENCH = Path(__file__).parents[2] / "book" / "bench.json"
STATS = ("min", "median", "stddev", "rounds")


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Called where the timings are saved: keep the few numbers that a reader can use, in the same layout."""
    machine, info = chapters.machine(), output_json["machine_info"]
    compact = {
        "datetime": output_json["datetime"],
        "machine_info": {
            "cpu": {"brand_raw": machine["device"]},
            "python_version": info["python_version"],
            **{package: version(package) for package in ("numpy", "numba", "torch")},
        },
        "commit": machine["commit"],
        "benchmarks": [
            {
                "name": benchmark["name"],
                "stats": {key: float(f"{benchmark['stats'][key]:.4g}") for key in STATS},
                "extra_info": benchmark["extra_info"],
            }
            for benchmark in output_json["benchmarks"]
        ],
    }
    chapters.write_json(BENCH, compact)
