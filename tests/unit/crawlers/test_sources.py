"""sources.toml: what is wrong is named, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawlers.sources import read_sources
from pipeline.errors import SettingsError

GOOD = '[[source]]\nname = "a"\nspider = "feed"\nurl = "https://x.example/rss"\nevery_s = 300\n'
SITE = (
    GOOD.replace('"feed"', '"site"') + '[source.selectors]\nitem = "li"\nlink = "a::attr(href)"\n'
)


def write(path: Path, body: str) -> Path:
    path.write_text(body, encoding="utf-8")
    return path


def test_a_missing_file_means_no_sources(tmp_path: Path) -> None:
    assert read_sources(tmp_path / "none.toml") == []


def test_sources_are_read(tmp_path: Path) -> None:
    body = GOOD + 'keywords = ["雨"]\nenabled = false\n' + SITE.replace('"a"', '"b"')
    first, second = read_sources(write(tmp_path / "s.toml", body))
    assert (first.name, first.keywords, first.enabled, first.post_source) == (
        "a",
        ("雨",),
        False,
        "a",
    )
    assert second.selectors.item == "li"
    assert second.host == "x.example"


def test_the_shipped_example_has_no_active_source_and_is_right_when_uncommented(
    tmp_path: Path,
) -> None:
    shipped = Path("pipeline/defaults/sources.toml")
    assert read_sources(shipped) == []
    lines = shipped.read_text(encoding="utf-8").split("\n")
    start = lines.index("# [[source]]")
    body = "\n".join(line.removeprefix("# ").removeprefix("#") for line in lines[start:])
    assert len(read_sources(write(tmp_path / "s.toml", body))) == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x = ", "not valid TOML"),
        ("x = 1", "unknown 'x'"),
        (GOOD + GOOD, "used twice"),
        (GOOD.replace("every_s = 300", "every_s = 5"), "30 or more"),
        (GOOD.replace("every_s = 300", 'every_s = "5"'), "every_s must be"),
        (GOOD.replace("every_s = 300", ""), "every_s is missing"),
        (GOOD.replace("https://x.example/rss", "ftp://x"), "url must begin"),
        (GOOD.replace("https://x", "https://me:secret@x"), "password"),
        (GOOD.replace('"feed"', '"spyder"'), "feed, site, warning"),
        (GOOD.replace('"a"', '"A b"'), "name takes"),
        (GOOD + "colour = 1\n", "unknown key 'colour'"),
        (GOOD + "enabled = 1\n", "true or false"),
        (GOOD + "pages = true\n", "whole number"),
        (GOOD + "pages = 0\n", "1 to 50"),
        (GOOD + "keywords = [1]\n", "list of texts"),
        (GOOD + 'author_kind = "robot"\n', "author_kind must be"),
        (GOOD.replace('"feed"', '"site"'), "selectors.item is missing"),
        (SITE.replace('link = "a::attr(href)"', ""), "need link"),
        (SITE + 'linke = "a"\n', "unknown selector 'linke'"),
        (SITE + 'title = "a["\n', "no CSS selector"),
        (GOOD.replace('"feed"', '"weibo"'), "waiver"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_sources(write(tmp_path / "s.toml", body))
