"""Generations of day indices: a whole new set is built beside the old one and takes its place.

Generation 0 is named ``ALIAS-YYYY.MM.DD``, generation 3 ``ALIAS-g3-YYYY.MM.DD``. What the alias
names is in use; a higher generation is being built, everything else is left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from elasticsearch import Elasticsearch, NotFoundError

EMPTY_DAY = "2005.01.01"  # stays empty, so that every generation and its alias always exist


class Call(Protocol):
    """A call to the server whose failures are ours."""

    def __call__(self, call: Any, *, passing: Sequence[int] = (), **given: Any) -> Any: ...


class Generations:
    """What there is of one alias. Every method raises EngineDown."""

    def __init__(self, client: Elasticsearch, call: Call, alias: str) -> None:
        self._client, self._call, self.alias = client, call, alias
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
        try:
            found = self._call(self._client.indices.get_alias, passing=(404,), name=self.alias)
        except NotFoundError:
            return []
        return sorted(found, key=lambda index: (self.number(index) or 0, index))

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

    def swap(self, number: int) -> None:
        """In one step the alias names this generation and no other."""
        new = [index for index in self.everything() if self.number(index) == number]
        old = [index for index in self.in_use() if self.number(index) != number]
        actions = [{"add": {"index": index, "alias": self.alias}} for index in new]
        actions += [{"remove": {"index": index, "alias": self.alias}} for index in old]
        actions += [{"remove": {"index": index, "alias": self.building}} for index in new]
        self._call(self._client.indices.update_aliases, actions=actions)
