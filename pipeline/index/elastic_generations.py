"""Generations of day indices: a whole new set is built beside the old one and takes its place.

Generation 0 is named ``ALIAS-YYYY.MM.DD``, generation 3 ``ALIAS-g3-YYYY.MM.DD``. What the alias
names is in use; a higher generation is being built, everything else is left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from elasticsearch import NotFoundError

from pipeline.index.codes import at_millis, millis
from pipeline.index.elastic_docs import day_of
from pipeline.index.elastic_server import Server

EMPTY_DAY = "2005.01.01"  # stays empty, so that every generation and its alias always exist


class Generations:
    """What there is of one alias. Every method raises EngineDown."""

    def __init__(self, server: Server, alias: str) -> None:
        self._server, self._client, self._call = server, server.client, server.call
        self.alias = alias
        self.building = f"{alias}-next"  # alias of the generation that is being built
        self._form = re.compile(rf"{re.escape(alias)}(?:-g(\d+))?-\d{{4}}\.\d\d\.\d\d")

    def base(self, number: int) -> str:
        """What the names of a generation begin with."""
        return f"{self.alias}-g{number}" if number else self.alias

    def number(self, index: str) -> int | None:
        """The generation of an index; None when the name is none of ours."""
        found = self._form.fullmatch(index)
        return int(found[1] or 0) if found else None

    def newest(self, indices: Iterable[str]) -> int:
        """The highest generation among some indices, 0 when there is none."""
        return max((n for i in indices if (n := self.number(i)) is not None), default=0)

    def in_use(self) -> list[str]:
        """Every index behind the alias, oldest generation and day first."""
        return sorted(self._aliased(), key=lambda index: (self.number(index) or 0, index))

    def everything(self) -> list[str]:
        """Every index of any generation, used or not."""
        found = self._call(self._client.indices.get_alias, index=f"{self.alias}-*")
        return [index for index in found if self.number(index) is not None]

    def is_current(self, base: str) -> bool:
        """Whether the alias still names the generation of this base: one cheap question."""
        first = f"{base}-{EMPTY_DAY}"
        return bool(self._call(self._client.indices.exists_alias, index=first, name=self.alias))

    def refuse_guesses(self) -> None:
        """A write to an index that is gone must fail, not make one with a guessed mapping."""
        if self._call(self._client.indices.exists_index_template, name=self.alias):
            return
        self._call(
            self._client.indices.put_index_template,
            name=self.alias,
            index_patterns=[f"{self.alias}-*"],
            priority=100,
            allow_auto_create=False,
            template={},
        )

    def forget_template(self) -> None:
        """The other half of ``refuse_guesses``, for tests."""
        self._call(
            self._client.options(ignore_status=404).indices.delete_index_template, name=self.alias
        )

    def clean(self) -> None:
        """Drop what an interrupted rebuild left, and let writers write again."""
        used = self.in_use()
        self.drop(index for index in self.everything() if index not in used)
        self.let_write(used)

    def drop(self, indices: Iterable[str]) -> None:
        """Delete indices, those that are gone already too."""
        for index in indices:
            self._call(self._client.indices.delete, index=index, ignore_unavailable=True)

    def block(self, indices: Sequence[str]) -> None:
        """Refuse writes; the server waits for those under way before it answers."""
        for start in range(0, len(indices), 50):
            self._call(
                self._client.indices.add_block,
                index=",".join(indices[start : start + 50]),
                block="write",
                ignore_unavailable=True,  # retention may have dropped a day meanwhile
            )

    def let_write(self, indices: Sequence[str]) -> None:
        """Take the block away."""
        for start in range(0, len(indices), 50):
            self._call(
                self._client.indices.put_settings,
                index=",".join(indices[start : start + 50]),
                settings={"index.blocks.write": None},
                ignore_unavailable=True,
            )

    def cut(self, before: datetime) -> None:
        """Drop the days before a moment, hide the rest of its day up to it.

        The empty day has the same filter: there the last cut is found again.
        """
        cut, dropped, hidden = day_of(before), [], []
        for index in self.in_use():
            day = index[-len(EMPTY_DAY) :]
            if day in (EMPTY_DAY, cut):
                hidden.append(index)
            elif day < cut:
                dropped.append(index)
        self.drop(dropped)  # first, and not by the alias: that would be refused on a full disk
        floor = _floor(millis(before))
        self._change({"add": {"index": i, "alias": self.alias, **floor}} for i in hidden)

    def swap(self, number: int) -> None:
        """In one step the alias names this generation and no other. Retention stays as it was:
        days that it dropped meanwhile are left out, the day of the cut keeps its filter."""
        old = {i: about for i, about in self._aliased().items() if self.number(i) != number}
        new = [index for index in self.everything() if self.number(index) == number]
        days = {index[-len(EMPTY_DAY) :] for index in old}
        floor = max((_lowest(about["aliases"][self.alias]) for about in old.values()), default=0)
        cut = day_of(at_millis(floor)) if floor else EMPTY_DAY
        actions: list[dict[str, Any]] = []
        for index in new:
            day = index[-len(EMPTY_DAY) :]
            if day >= cut or day in days:
                filtered = _floor(floor) if floor and day in (cut, EMPTY_DAY) else {}
                actions.append({"add": {"index": index, "alias": self.alias, **filtered}})
        actions += [{"remove": {"index": index, "alias": self.alias}} for index in old]
        actions += [{"remove": {"index": index, "alias": self.building}} for index in new]
        self._change(actions)

    def _aliased(self) -> Mapping[str, Any]:
        """What the alias names, with filters."""
        try:
            found = self._call(self._client.indices.get_alias, passing=(404,), name=self.alias)
        except NotFoundError:
            return {}
        return dict(found)

    def _change(self, actions: Iterable[dict[str, Any]]) -> None:
        if wanted := list(actions):
            self._server.write(self._client.indices.update_aliases, actions=wanted)


def _floor(lowest: int) -> dict[str, Any]:
    return {"filter": {"range": {"at": {"gte": lowest}}}}


def _lowest(alias: Mapping[str, Any]) -> int:
    """The other way round; 0 without a filter."""
    return int(alias.get("filter", {}).get("range", {}).get("at", {}).get("gte", 0))
