"""People: accounts, passwords, sessions.

Passwords are kept as argon2id; a session id is kept as its SHA-256 only. Five failures lock an
account for a quarter of an hour. Every login, refused or not, is one audit line.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select, update

from pipeline.desk.guard import Act, Row, add, change, load, record, rows
from pipeline.domain.rights import MACHINE, Actor, Role, require
from pipeline.errors import MissingFields, NotAllowed, NotFound
from pipeline.store import tables as t
from pipeline.store.sql import Store, Tx

MIN_LENGTH = 10
LOCK_AFTER = 5
LOCK = timedelta(minutes=15)
SEEN_EVERY = timedelta(minutes=1)
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
REFUSED = "用户名或密码不正确，或账号已停用"

FIRST_USERS: tuple[tuple[str, str, Role, str], ...] = (
    ("duty", "值班员", Role.DUTY, ""),
    ("leader", "带班领导", Role.LEADER, ""),
    ("qxt", "气象台联络员", Role.OFFICE, "气象台"),
    ("bgs", "办公室联络员", Role.OFFICE, "办公室"),
    ("checker", "业务核稿人", Role.CHECKER, ""),
    ("secrecy", "保密审查人", Role.SECRECY, ""),
    ("signer", "签发人", Role.SIGNER, ""),
    ("admin", "系统管理员", Role.ADMIN, ""),
    ("security", "安全管理员", Role.SECURITY, ""),
    ("auditor", "审计员", Role.AUDITOR, ""),
)


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account just made, with its one-time password (shown once, kept nowhere)."""

    name: str
    password: str
    role: Role
    office: str


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobody() -> str:
    """A hash to compare with when the name is unknown, so that time tells nothing."""
    return _hasher().hash(secrets.token_hex(16))


def one_time_password() -> str:
    """Four groups of four, easy to read aloud; about 79 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def check_password(password: str, name: str = "") -> None:
    """Raises: MissingFields when it is shorter than ten or of fewer than three kinds."""
    kinds = [
        any(c.islower() for c in password),
        any(c.isupper() for c in password),
        any(c.isdigit() for c in password),
        any(not c.isalnum() for c in password),
    ]
    if len(password) < MIN_LENGTH or sum(kinds) < 3:
        raise MissingFields(
            {"password": f"新密码（至少 {MIN_LENGTH} 位，含大写、小写、数字、符号中的三种）"}
        )
    if name and name.lower() in password.lower():
        raise MissingFields({"password": "新密码（不能包含用户名）"})


def _by_name(conn: Connection, name: str) -> Row | None:
    found = rows(conn, select(t.users).where(t.users.c.name == name))
    return found[0] if found else None


def _get(conn: Connection, name: str) -> Row:
    row = _by_name(conn, name)
    if row is None:
        raise NotFound(f"没有用户“{name}”，请核对用户名")
    return row


def _act(name: str, fact: str, user: Row, text: str, **after: object) -> Act:
    return Act(name, fact, "user", user["id"], text, after={"name": user["name"], **after})


# ---- accounts -----------------------------------------------------------------------------


def add_user(
    tx: Tx, actor: Actor, name: str, role: Role | str, office: str = "", display: str = ""
) -> str:
    """A new account; returns its one-time password. The machine may, for a new installation.

    Raises: MissingFields for a bad name, an unknown role, or an office user without an office.
    """
    if not actor.is_machine:
        require(actor, "manage_users")
    name = name.strip()
    wrong = {}
    if not name or len(name) > 64 or not name.isprintable() or name == MACHINE.name:
        wrong["name"] = "用户名（1 至 64 个字符）"
    elif _by_name(tx.conn, name) is not None:
        wrong["name"] = f"另一个用户名（“{name}”已存在）"
    if role not in set(Role):
        wrong["role"] = f"岗位（{'、'.join(r.label for r in Role)}）"
    elif role == Role.OFFICE and not office.strip():
        wrong["office"] = "所属科室"
    if wrong:
        raise MissingFields(wrong)
    password = one_time_password()
    user_id = add(
        tx,
        t.users,
        name=name,
        display=display.strip() or name,
        role=Role(role).value,
        office=office.strip(),
        password_hash=_hasher().hash(password),
        created_at=tx.now,
    )
    user = load(tx.conn, t.users, user_id, "用户")
    text = f"新增用户 {name}（{Role(role).label}{office.strip()}）"
    act = _act("add_user", "user_added", user, text, role=Role(role).value, office=office.strip())
    record(tx, actor, act)
    return password


def first_users(tx: Tx) -> list[NewUser]:
    """One account per role (two offices) for a new installation; empty when there are users."""
    if tx.conn.execute(select(func.count()).select_from(t.users)).scalar_one():
        return []
    return [
        NewUser(name, add_user(tx, MACHINE, name, role, office, display), role, office)
        for name, display, role, office in FIRST_USERS
    ]


def disable(tx: Tx, actor: Actor, name: str) -> None:
    """Lock a person out at once: sessions end."""
    _set(tx, actor, name, "disable_user", "user_disabled", f"停用用户 {name}", disabled=True)


def enable(tx: Tx, actor: Actor, name: str) -> None:
    """Let a person in again."""
    _set(
        tx,
        actor,
        name,
        "enable_user",
        "user_enabled",
        f"启用用户 {name}",
        disabled=False,
        failed=0,
        locked_until=None,
    )


def set_role(tx: Tx, actor: Actor, name: str, role: Role | str, office: str = "") -> None:
    """Another role from now on; sessions end. Nobody gives a role to oneself."""
    if role not in set(Role) or (role == Role.OFFICE and not office.strip()):
        raise MissingFields({"role": "岗位（科室岗位须填所属科室）"})
    label = Role(role).label
    _set(
        tx,
        actor,
        name,
        "set_role",
        "role_changed",
        f"用户 {name} 岗位改为{label}",
        role=Role(role).value,
        office=office.strip(),
    )


def reset_password(tx: Tx, actor: Actor, name: str) -> str:
    """A new one-time password; sessions end."""
    password = one_time_password()
    _set(
        tx,
        actor,
        name,
        "reset_password",
        "password_reset",
        f"重置用户 {name} 的密码",
        password_hash=_hasher().hash(password),
        must_change=True,
        failed=0,
        locked_until=None,
    )
    return password


def _set(tx: Tx, actor: Actor, name: str, act: str, fact: str, text: str, **values: object) -> None:
    require(actor, "manage_users")
    user = _get(tx.conn, name)
    if user["id"] == actor.user_id:
        raise NotAllowed("不能更改自己的账号，请由另一位安全管理员操作")
    change(tx, t.users, user, **values)
    tx.conn.execute(delete(t.sessions).where(t.sessions.c.user_id == user["id"]))
    shown = {k: v for k, v in values.items() if k != "password_hash"}
    record(tx, actor, _act(act, fact, user, text, **shown))


# ---- login --------------------------------------------------------------------------------


def authenticate(store: Store, now: datetime, name: str, password: str, origin: str = "") -> Row:
    """The user's row when the password fits.

    Hashing takes a tenth of a second, so it is done between two transactions: nobody's act waits
    for it. A refusal is committed before it is raised: its count and its audit line stay.
    Raises: NotAllowed, with one text for every cause except a locked account.
    """
    with store.read() as conn:
        user = _by_name(conn, name)
    kept = user["password_hash"] if user else _nobody()
    may_try = user is None or not _is_locked(user, now)
    fits = may_try and _fits(kept, password)
    renewed = ""
    if fits and user is not None and _hasher().check_needs_rehash(kept):
        renewed = _hasher().hash(password)
    refused = ""
    with store.begin(now) as tx:
        user = _by_name(tx.conn, name)
        if user is not None and user["password_hash"] != kept:
            fits = False  # changed meanwhile: what was looked at is no longer the password
        if user is not None and _is_locked(user, now):
            minutes = -(-(user["locked_until"] - now).total_seconds() // 60)
            refused = f"密码多次错误，账号已锁定，请 {minutes:.0f} 分钟后再试"
            _note_refusal(tx, user, origin, "locked")
        elif user is None or user["disabled"]:
            refused = REFUSED
            _note_refusal(tx, user, origin, "unknown" if user is None else "disabled")
        elif not fits:
            why, refused = _count_failure(tx, user)
            _note_refusal(tx, user, origin, why)
        else:
            new = {"password_hash": renewed} if renewed else {}
            user = change(tx, t.users, user, failed=0, locked_until=None, **new)
            tx.audit(_actor(user, origin), "login", "user", user["id"], None, {"ok": True})
    if refused or user is None:
        raise NotAllowed(refused)
    return user


def _is_locked(user: Row, now: datetime) -> bool:
    return bool(user["locked_until"] and user["locked_until"] > now)


def _fits(password_hash: str, password: str) -> bool:
    try:
        return bool(_hasher().verify(password_hash, password))
    except (VerificationError, InvalidHashError):
        return False


def _count_failure(tx: Tx, user: Row) -> tuple[str, str]:
    failed = user["failed"] + 1
    if failed < LOCK_AFTER:
        change(tx, t.users, user, failed=failed)
        return "password", REFUSED
    change(tx, t.users, user, failed=0, locked_until=tx.now + LOCK)
    minutes = int(LOCK.total_seconds() // 60)
    return "locked_now", f"密码连续 {LOCK_AFTER} 次错误，账号锁定 {minutes} 分钟"


def _note_refusal(tx: Tx, user: Row | None, origin: str, why: str) -> None:
    # an unknown name may be a password typed into the wrong field: it is not written down
    who = Actor(user["id"] if user else 0, user["name"] if user else "未知用户", None, "", origin)
    tx.audit(who, "login", "user", user["id"] if user else "-", None, {"ok": False, "why": why})


def change_password(store: Store, now: datetime, actor: Actor, old: str, new: str) -> None:
    """One's own password; all of one's sessions end. Hashed outside the transaction, as in
    ``authenticate``. Raises: NotAllowed, MissingFields."""
    with store.read() as conn:
        kept = load(conn, t.users, actor.user_id, "用户")
    if not _fits(kept["password_hash"], old):
        raise NotAllowed("原密码不正确")
    check_password(new, kept["name"])
    if new == old:
        raise MissingFields({"password": "与原密码不同的新密码"})
    new_hash = _hasher().hash(new)
    with store.begin(now) as tx:
        user = load(tx.conn, t.users, actor.user_id, "用户")
        if user["password_hash"] != kept["password_hash"]:
            raise NotAllowed("原密码不正确")  # changed meanwhile
        change(tx, t.users, user, password_hash=new_hash, must_change=False)
        tx.conn.execute(delete(t.sessions).where(t.sessions.c.user_id == user["id"]))
        act = _act("change_password", "password_changed", user, f"{user['name']}修改密码")
        record(tx, actor, act)


# ---- sessions -----------------------------------------------------------------------------


def _hash(sid: str) -> str:
    return hashlib.sha256(sid.encode()).hexdigest()


def _actor(user: Row, origin: str) -> Actor:
    return Actor(user["id"], user["name"], Role(user["role"]), user["office"], origin)


def open_session(tx: Tx, user_id: int, *, hours: float = 12.0, origin: str = "") -> str:
    """A session for a user who has just logged in; returns the id that goes into the cookie.

    It ends after ``hours`` at the latest. The login itself is the act that was audited.
    """
    sid = secrets.token_urlsafe(32)
    tx.conn.execute(delete(t.sessions).where(t.sessions.c.expires_at <= tx.now))
    tx.conn.execute(
        insert(t.sessions),
        {
            "sid_hash": _hash(sid),
            "user_id": user_id,
            "created_at": tx.now,
            "seen_at": tx.now,
            "expires_at": tx.now + timedelta(hours=hours),
            "origin": origin[:64],
        },
    )
    return sid


def close_session(tx: Tx, sid: str) -> None:
    """Log out; an unknown session is closed already."""
    s = t.sessions.c
    found = rows(tx.conn, select(t.sessions).where(s.sid_hash == _hash(sid)))
    if not found:
        return
    tx.conn.execute(delete(t.sessions).where(s.sid_hash == _hash(sid)))
    user = load(tx.conn, t.users, found[0]["user_id"], "用户")
    tx.audit(_actor(user, found[0]["origin"]), "logout", "user", user["id"])


def session_user(
    conn: Connection, sid: str, now: datetime, *, idle_minutes: float = 30.0
) -> Row | None:
    """The row of the user behind a session; None when it ended, idled out, or was disabled."""
    if not sid:
        return None
    s, u = t.sessions.c, t.users.c
    query = (
        select(t.users, s.origin.label("origin"))
        .join(t.sessions, s.user_id == u.id)
        .where(
            s.sid_hash == _hash(sid),
            s.expires_at > now,
            s.seen_at > now - timedelta(minutes=idle_minutes),
            u.disabled.is_(False),
        )
    )
    found = rows(conn, query)
    return found[0] if found else None


def session_actor(
    conn: Connection, sid: str, now: datetime, *, idle_minutes: float = 30.0
) -> Actor | None:
    """Who is behind a session, None when nobody."""
    user = session_user(conn, sid, now, idle_minutes=idle_minutes)
    return _actor(user, user["origin"]) if user else None


def touch_session(tx: Tx, sid: str) -> None:
    """The person is still there; written once a minute at most."""
    s = t.sessions.c
    tx.conn.execute(
        update(t.sessions)
        .where(s.sid_hash == _hash(sid), s.seen_at <= tx.now - SEEN_EVERY)
        .values(seen_at=tx.now)
    )


__all__ = [
    "NewUser",
    "add_user",
    "authenticate",
    "change_password",
    "close_session",
    "disable",
    "enable",
    "first_users",
    "open_session",
    "reset_password",
    "session_actor",
    "session_user",
    "set_role",
    "touch_session",
]
