"""Check a quickstart run directory: what must hold at any size of the suite."""

import json
import sys
from pathlib import Path


def main(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]

    def score(method: str, metric: str, level: str) -> float:
        (found,) = (
            s["value"]
            for s in summary["scores"]
            if (s["method"], s["metric"], s["level"], s["stratum"]) == (method, metric, level, "all")
        )
        return float(found)

    assert score("ft", "tf", "exact") >= 0.95, "fine-tuning no longer reaches its target under teacher forcing"
    assert score("ft", "illusion_gap", "exact") >= 0.5, "the illusion gap of fine-tuning is gone"
    restored = [row["is_restored_exactly"] for row in rows if row.get("phase") == "after"]
    assert restored and all(is_exact is True for is_exact in restored), "a method did not restore the model bit for bit"
    print(f"quickstart: {len(rows)} rows, every edit undone bit for bit")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
