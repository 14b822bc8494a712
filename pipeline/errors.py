"""Every error of the pipeline, drawn as a tree.

    TingfengError
    ├── SettingsError          a setting is wrong; the text names it and says what to write
    ├── NotNow                 try again later: the handler keeps its place and backs off
    │   ├── StoreBusy          the database is locked or unreachable
    │   │   └── StoreRefused   it refuses account, name or version: no start before that is right
    │   ├── EngineDown         bus or index does not answer
    │   └── LostLease          this member was too slow; another one took its messages over
    ├── Never                  give up on this message: it goes to the dead letters
    │   └── BadMessage         the bytes are not what the topic carries
    ├── StageStopped           too many messages were refused; a person must look
    └── DeskError              a person asked for something the desk refuses
        ├── IllegalTransition  the state table has no such move
        ├── NotAllowed         the role has no right to the act
        ├── MissingFields      a form is incomplete; ``fields`` names what is missing
        ├── UnstorableText     a text that no database can keep as it is
        ├── NotFound           no such case, alert, clarification ...
        └── Stale              somebody else changed it meanwhile; look again

Every text says what to do next. Desk errors are shown to officers, so their texts are Chinese.
"""

from __future__ import annotations


class TingfengError(Exception):
    """Root of everything we raise on purpose."""


class SettingsError(TingfengError):
    """A setting is wrong."""


class NotNow(TingfengError):
    """A passing failure: keep the message and try again."""


class StoreBusy(NotNow):
    """The database is locked or does not answer.

    ``words``: for the screen, in Chinese. ``name`` of the database and ``detail`` are for whoever
    reads logs and commands.
    """

    def __init__(self, words: str, *, name: str = "", detail: str = "") -> None:
        self.words = words
        named = f"{name}: {words}" if name else words
        super().__init__(f"{named}（{detail}）" if detail else named)


class StoreRefused(StoreBusy):
    """The database is there and does not let us in: a setting is wrong, or its version.

    A part that starts ends with it; one that runs goes on trying, as somebody may put it right.
    """


class EngineDown(NotNow):
    """The bus or the index does not answer."""


class LostLease(NotNow):
    """A slow consumer lost its partitions; what it polled is handled again."""


class StageStopped(TingfengError):
    """A stage refused so many messages that going on would hide a fault."""


class Never(TingfengError):
    """This message can never be handled."""


class BadMessage(Never):
    """The bytes of a message do not have the form of its topic."""


class DeskError(TingfengError):
    """The desk refuses an act; the text tells the officer why and what to do."""


class IllegalTransition(DeskError):
    """The state table has no such move."""


class NotAllowed(DeskError):
    """The role has no right to this act."""


class MissingFields(DeskError):
    """A form is incomplete."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__("请补充：" + "、".join(fields.values()))


class UnstorableText(DeskError):
    """A text holds NUL or half of a character, or is too long. ``english``: for commands."""

    def __init__(self, chinese: str, english: str) -> None:
        self.english = english
        super().__init__(chinese)


class NotFound(DeskError):
    """No such object."""


class Stale(DeskError):
    """Somebody else changed the object since it was read."""
