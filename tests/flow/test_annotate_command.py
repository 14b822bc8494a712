"""``tingfeng annotate --json`` as other programs call it: a real process, real pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GOOD = [
    {"id": "a", "text": "听说大王滩水库今晚要泄洪，大家快跑", "place_hint": "广西 南宁"},
    {"id": 7, "text": ""},
    {"id": "c", "text": "今天天气真好\u200b\x00", "more": [1]},
]


def annotate(lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", "annotate", "--json", *options]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


def test_one_line_of_json_per_text_in_order_and_nothing_else(tmp_path: Path) -> None:
    claims = tmp_path / "claims.jsonl"
    claim = {
        "id": "c1",
        "claim": "大王滩水库今晚泄洪",
        "verdict": "失实",
        "place": "南宁",
        "hazard": "flood",
    }
    claims.write_text(json.dumps(claim, ensure_ascii=False), "utf-8")
    done = annotate("".join(json.dumps(r) + "\n" for r in GOOD), "--claims", str(claims))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["id"] for r in rows] == ["a", 7, "c"]
    assert [c["id"] for c in rows[0]["claims"]] == ["c1"]
    assert rows[0]["rumour"] == "unverified"
    for row in rows:
        for head, scores in row["scores"].items():
            assert abs(sum(scores.values()) - 1) < 0.01, head


def test_a_bad_line_is_named_on_standard_error_and_the_others_are_judged() -> None:
    lines = json.dumps(GOOD[0]) + '\n{"broken"\n{"id":"x"}\n' + json.dumps(GOOD[2]) + "\n"
    done = annotate(lines)
    assert done.returncode == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "c"]
    assert '"line": 2' in done.stderr and '"line": 3' in done.stderr
    assert "2 of 4 lines could not be read" in done.stderr
    assert "Traceback" not in done.stderr
