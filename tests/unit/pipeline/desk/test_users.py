"""Accounts, logins, sessions."""

from __future__ import annotations

import pytest

from pipeline.desk import users
from pipeline.domain.rights import Actor, Role
from pipeline.errors import MissingFields, NotAllowed
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.unit.pipeline.desk.world import ADMIN, SECURITY, World


def added(world: World, name: str = "chen") -> str:
    return world.do(users.add_user, SECURITY, name, Role.DUTY)


def login(world: World, password: str, name: str = "chen") -> dict[str, object]:
    return users.authenticate(world.store, world.now, name, password, "10.0.0.8")


def test_only_the_security_administrator_adds_people(world: World) -> None:
    with pytest.raises(NotAllowed, match="安全管理员"):
        world.do(users.add_user, ADMIN, "chen", Role.DUTY)
    with pytest.raises(MissingFields, match="所属科室"):
        world.do(users.add_user, SECURITY, "chen", Role.OFFICE)
    added(world)
    with pytest.raises(MissingFields, match="已存在"):
        added(world)


def test_a_login_is_audited_whether_it_succeeds_or_not(world: World) -> None:
    password = added(world)
    with pytest.raises(NotAllowed):
        login(world, "wrong")
    assert login(world, password)["name"] == "chen"
    lines = world.all(t.audit, act="login")
    assert [(x["after"]["ok"], x["origin"]) for x in lines] == [
        (False, "10.0.0.8"),
        (True, "10.0.0.8"),
    ]


def test_nobody_waits_for_the_hashing_of_a_login(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = added(world)
    fits = users._fits

    def while_another_acts(kept: str, given: str) -> bool:
        added(world, "wang")
        return fits(kept, given)

    monkeypatch.setattr(users, "_fits", while_another_acts)
    assert login(world, password)["name"] == "chen"


def test_a_password_that_changes_during_a_login_no_longer_opens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = added(world)
    fits = users._fits

    def while_it_is_reset(kept: str, given: str) -> bool:
        world.do(users.reset_password, SECURITY, "chen")
        return fits(kept, given)

    monkeypatch.setattr(users, "_fits", while_it_is_reset)
    with pytest.raises(NotAllowed):
        login(world, password)


def test_five_failures_lock_for_a_quarter_of_an_hour(world: World) -> None:
    password = added(world)
    for _ in range(5):
        with pytest.raises(NotAllowed):
            login(world, "wrong")
    with pytest.raises(NotAllowed, match="15 分钟"):
        login(world, password)
    world.wait(minutes=15)
    login(world, password)
    assert world.one(t.users, name="chen")["failed"] == 0


def test_an_unknown_name_is_refused_like_a_wrong_password_and_not_written_down(
    world: World,
) -> None:
    added(world)
    texts = set()
    for name in ("chen", "Hunter2-typed-here"):
        with pytest.raises(NotAllowed) as caught:
            login(world, "wrong", name)
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert "Hunter2" not in str(world.all(t.audit))


def test_a_disabled_person_is_out_at_once(world: World) -> None:
    password = added(world)
    user = login(world, password)
    sid = world.tx(lambda tx: users.open_session(tx, int(str(user["id"])), origin="10.0.0.8"))
    world.do(users.disable, SECURITY, "chen")
    with world.store.read() as conn:
        assert users.session_actor(conn, sid, world.now) is None
    with pytest.raises(NotAllowed):
        login(world, password)


def test_a_session_ends_idle_or_at_its_end(world: World) -> None:
    user = login(world, added(world))
    sid = world.tx(lambda tx: users.open_session(tx, int(str(user["id"])), hours=2))
    assert all(sid not in str(row) for row in world.all(t.sessions))

    def actor() -> Actor | None:
        with world.store.read() as conn:
            return users.session_actor(conn, sid, world.now)

    found = actor()
    assert found is not None and (found.name, found.role) == ("chen", Role.DUTY)
    for _ in range(5):
        world.wait(minutes=20)
        assert actor() is not None
        world.tx(lambda tx: users.touch_session(tx, sid))
    world.wait(minutes=20)
    assert actor() is None  # two hours are over
    other = world.tx(lambda tx: users.open_session(tx, int(str(user["id"]))))
    world.wait(minutes=31)
    with world.store.read() as conn:
        assert users.session_actor(conn, other, world.now) is None


def test_logging_out_ends_the_session(world: World) -> None:
    user = login(world, added(world))
    sid = world.tx(lambda tx: users.open_session(tx, int(str(user["id"]))))
    world.tx(lambda tx: users.close_session(tx, sid))
    with world.store.read() as conn:
        assert users.session_actor(conn, sid, world.now) is None


@pytest.mark.parametrize("new", ["Short-1", "alllowercase1", "chen-Long-1234", "ALLUPPER123"])
def test_a_weak_password_is_refused(world: World, new: str) -> None:
    password = added(world)
    user = world.one(t.users, name="chen")
    me = Actor(user["id"], "chen", Role.DUTY)
    with pytest.raises(MissingFields):
        users.change_password(world.store, world.now, me, password, new)


def test_a_new_password_ends_the_sessions_and_the_duty_to_change(world: World) -> None:
    password = added(world)
    user = world.one(t.users, name="chen")
    me = Actor(user["id"], "chen", Role.DUTY)
    sid = world.tx(lambda tx: users.open_session(tx, user["id"]))
    with pytest.raises(NotAllowed, match="原密码"):
        users.change_password(world.store, world.now, me, "wrong", "Typhoon-2026")
    users.change_password(world.store, world.now, me, password, "Typhoon-2026")
    with world.store.read() as conn:
        assert users.session_actor(conn, sid, world.now) is None
    assert world.one(t.users, name="chen")["must_change"] is False
    login(world, "Typhoon-2026")


def test_nobody_changes_the_own_account(world: World) -> None:
    with pytest.raises(NotAllowed, match="另一位"):
        world.do(users.set_role, SECURITY, SECURITY.name, Role.DUTY)


def test_a_new_installation_gets_one_person_per_role(world: World) -> None:
    assert world.tx(users.first_users) == []  # there are people already
    world.tx(lambda tx: tx.conn.execute(t.users.delete()))
    made = world.tx(users.first_users)
    assert {u.role for u in made} == set(Role)
    assert {u.office for u in made if u.role is Role.OFFICE} == {"气象台", "办公室"}
    assert len({u.password for u in made}) == len(made)
    with world.store.read() as conn:
        assert verify_audit(conn).lines == len(made)
