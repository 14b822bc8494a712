"""How a notice leaves the house: a file, the console, or one of apprise's services."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

FailureClass = Literal["network", "busy", "refused", "auth", "unknown"]
PERMANENT: frozenset[str] = frozenset({"refused", "auth"})
"""Trying again would fail again: a person has to repair the address or the password."""


class ChannelFailed(Exception):
    """A notice did not get out. ``text``: for the operator, without address or secret."""

    def __init__(self, failure: FailureClass, text: str) -> None:
        self.failure = failure
        super().__init__(text)

    @property
    def is_permanent(self) -> bool:
        return self.failure in PERMANENT


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one receiver. ``link``: the page where receipt is signed, may be empty."""

    receiver: str
    title: str
    body: str
    link: str
    at: datetime
    fingerprint: str = ""
    case_id: int | None = None
    reason: str = "alert"


class Channel(Protocol):
    """One way out. ``limit``: bytes of one message, 0 for no limit."""

    @property
    def limit(self) -> int: ...

    def send(self, notice: Notice) -> None:
        """Raises: ChannelFailed."""


@dataclass(frozen=True, slots=True)
class FileChannel:
    """Appends one JSON line per notice."""

    path: Path
    limit: int = 0

    def send(self, notice: Notice) -> None:
        """Raises: ChannelFailed when the file cannot be written."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(notice) + "\n")
        except OSError as error:
            raise ChannelFailed(
                "busy", f"无法写入 {self.path.name}（{error.strerror}），请检查磁盘和权限"
            ) from error


@dataclass(frozen=True, slots=True)
class ConsoleChannel:
    """Prints one JSON line per notice to standard error."""

    limit: int = 0

    def send(self, notice: Notice) -> None:
        print(_line(notice), file=sys.stderr, flush=True)


def _line(notice: Notice) -> str:
    return json.dumps(
        {
            "at": notice.at.isoformat(),
            "receiver": notice.receiver,
            "reason": notice.reason,
            "title": notice.title,
            "body": notice.body,
            "link": notice.link,
            "fingerprint": notice.fingerprint,
            "case_id": notice.case_id,
        },
        ensure_ascii=False,
    )


LIMITS: dict[str, int] = {
    "wecombot": 2000,  # 企业微信群机器人: 2048 bytes of text
    "dingtalk": 18000,  # 钉钉: 20 KB
    "feishu": 18000,
    "lark": 18000,
}


@dataclass(frozen=True, slots=True)
class AppriseChannel:
    """One address of apprise. The address is a secret: never shown, never logged."""

    address: str = field(repr=False)
    limit: int = 0

    def send(self, notice: Notice) -> None:
        """In parts when it is longer than the channel allows. Raises: ChannelFailed."""
        import apprise

        capture: Any = apprise.LogCapture
        target = apprise.Apprise()
        if not target.add(self.address):
            raise ChannelFailed("refused", "通知地址无法识别，请检查 channels.toml")
        text = f"{notice.body}\n{notice.link}".strip()
        pieces = parts_of(text, self.limit - len(notice.title.encode()) - 24 if self.limit else 0)
        for n, piece in enumerate(pieces, start=1):
            title = notice.title if len(pieces) == 1 else f"{notice.title}（{n}/{len(pieces)}）"
            with capture(level=logging.DEBUG, fmt="%(message)s") as said:
                done = target.notify(body=piece, title=title, body_format=apprise.NotifyFormat.TEXT)
                log: str = said.getvalue()
            if not done:
                raise failure_of(log)


_HTTP = re.compile(r"error=(\d{3})\b")
_SMTP = re.compile(r"Socket Exception: [^\n]*?\(?(?<!\d)(\d{3}),")
_SAID = {400: "请求无效", 401: "未授权", 403: "被拒绝", 404: "地址不存在", 429: "发送过于频繁"}


def failure_of(log: str) -> ChannelFailed:
    """What apprise's own log says about a failure, as a class and a text without secrets."""
    http = _HTTP.search(log)
    if http:
        code = int(http.group(1))
        if code in (408, 425, 429) or code >= 500:
            return ChannelFailed("busy", f"对方暂时无法接收（HTTP {code}），将自动重试")
        failure: FailureClass = "auth" if code in (401, 403) else "refused"
        return ChannelFailed(
            failure, f"对方拒绝接收（HTTP {code} {_SAID.get(code, '')}），请检查通知地址与密钥"
        )
    smtp = _SMTP.search(log)
    if smtp:
        code = int(smtp.group(1))
        if code in (530, 534, 535):
            return ChannelFailed("auth", f"邮件服务器不接受用户或密码（{code}），请检查邮箱设置")
        if code >= 500:
            return ChannelFailed("refused", f"邮件服务器拒收（{code}），请检查收件人与发件人")
        return ChannelFailed("busy", f"邮件服务器暂时无法接收（{code}），将自动重试")
    if "onnection error" in log or "Socket Exception" in log:
        return ChannelFailed("network", "无法连接对方服务器，请检查网络，将自动重试")
    return ChannelFailed("unknown", "通知服务返回失败，将自动重试")


def parts_of(text: str, limit: int) -> list[str]:
    """Cut at line ends into parts of at most ``limit`` bytes (UTF-8); 0: one part."""
    if limit <= 0 or len(text.encode()) <= limit:
        return [text]
    parts: list[str] = []
    held = ""
    for line in text.split("\n"):
        for piece in _pieces(line, limit):
            joined = f"{held}\n{piece}" if held else piece
            if len(joined.encode()) > limit:
                parts.append(held)
                held = piece
            else:
                held = joined
    if held:
        parts.append(held)
    return parts


def _pieces(line: str, limit: int) -> list[str]:
    """A line longer than the limit in pieces that fit, whole characters only."""
    raw = line.encode()
    pieces: list[str] = []
    while len(raw) > limit:
        cut = raw[:limit].decode(errors="ignore")
        pieces.append(cut)
        raw = raw[len(cut.encode()) :]
    pieces.append(raw.decode())
    return pieces


def scheme_of(address: str) -> str:
    """The service of an apprise address, as ``wecombot``."""
    return address.partition(":")[0].lower()


def is_apprise_address(address: str) -> bool:
    """Whether apprise can read an address."""
    import apprise

    made: Any = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    return made is not None
