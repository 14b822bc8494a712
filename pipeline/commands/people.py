"""``tingfeng user``: accounts, from the machine's console."""

from __future__ import annotations

from pipeline.app import App, build
from pipeline.desk import users
from pipeline.domain.rights import Actor, Role
from pipeline.errors import SettingsError
from pipeline.settings import Settings

# Whoever can run commands on this machine holds its keys; the audit says it was the console.
CONSOLE = Actor(user_id=0, name="console", role=Role.SECURITY, origin="console")


class Accounts:
    """Adding, disabling and resetting people; every act is audited."""

    def __init__(self, app: App) -> None:
        self.app = app

    def add(self, name: str, role: str, office: str, display: str) -> str:
        """A new person; returns the one-time password. Raises: SettingsError, DeskError."""
        if role not in set(Role):
            raise SettingsError(f"no role {role!r}; choose from {', '.join(Role)}")
        with self.app.store.begin(self.app.now()) as tx:
            return users.add_user(tx, CONSOLE, name, Role(role), office=office, display=display)

    def disable(self, name: str) -> None:
        """Lock a person out and end the open sessions. Raises: NotFound."""
        with self.app.store.begin(self.app.now()) as tx:
            users.disable(tx, CONSOLE, name)

    def reset(self, name: str) -> str:
        """A new one-time password. Raises: NotFound."""
        with self.app.store.begin(self.app.now()) as tx:
            return users.reset_password(tx, CONSOLE, name)


def admin_users(settings: Settings) -> Accounts:
    """Accounts of a folder."""
    return Accounts(build(settings))
