"""Users, and the keys that sign local tokens."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Q

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.wire.ids import new_id


class UserManager(BaseUserManager["User"]):
    """Makes operators. Everybody else signs in with a token."""

    def create_superuser(self, login: str, password: str | None = None, **fields: Any) -> "User":
        """An operator who may do everything in the console. Called by `manage.py createsuperuser`."""
        user = User(id=f"local:{new_id()}", login=login, username=login, is_staff=True, is_superuser=True, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by the subject of their tokens.

    `id` is the Cognito `sub`, or `local:<ulid>` for local identities and operators. Nobody but an operator has a
    usable password; `login` is an operator's name on the console's sign-in page.
    """

    id = CodePointCharField(primary_key=True, max_length=128)
    username = models.CharField(max_length=256, db_index=True, help_text="The token's cognito:username.")
    email = models.CharField(max_length=320, blank=True, db_index=True)
    token_groups = models.JSONField(default=list, blank=True, help_text="The groups of the last token seen.")
    login = models.CharField(max_length=150, unique=True, null=True, blank=True, help_text="Operators only.")
    is_active = models.BooleanField("active", default=True, help_text="Unticking suspends the user at once.")
    is_staff = models.BooleanField("operator", default=False, help_text="May sign in to the console.")
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField("last seen", null=True, blank=True, help_text="To a quarter of an hour.")

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "login"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        permissions = [
            ("suspend_user", "Can suspend and restore a person"),
            ("export_user", "Can export a person's data"),
            ("erase_user", "Can erase a person"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(is_staff=False) | Q(login__isnull=False), name="operator_has_login"),
            models.CheckConstraint(condition=Q(login__isnull=True) | ~Q(login=""), name="login_not_blank"),
        ]

    def __str__(self) -> str:
        return self.username or self.id


class SigningKey(models.Model):
    """A key that signs local tokens. The newest one signs; all of them are published and verify."""

    kid = models.CharField(primary_key=True, max_length=64)
    private_key = models.TextField(help_text="PEM, PKCS #8.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.kid


BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "iPhone": "iOS",
    "iPad": "iPadOS",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
"""Words in the names that browsers give themselves. The first one counts: most of them claim to be others too."""


class OperatorSession(models.Model):
    """A sign-in to the console, or a visit that is about to become one (without a user). See `session_store`.

    The key in the browser's cookie is not stored, only its digest: whoever reads this table gets in nowhere.
    """

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="operator_sessions")
    data = models.TextField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    network = models.CharField(max_length=64, blank=True, help_text="The address at the sign-in, of IPv6 its /64.")
    browser = models.CharField(max_length=200, blank=True, help_text="As it names itself.")
    has_second_factor = models.BooleanField("second factor", default=False)

    class Meta:
        verbose_name = "session of an operator"
        verbose_name_plural = "operators' sessions"
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return self.id

    @property
    def shown_browser(self) -> str:
        """`Firefox on Linux`, as far as the browser says so. Nothing depends on it."""
        browser = next((name for mark, name in BROWSERS.items() if mark in self.browser), "A browser")
        system = next((name for mark, name in SYSTEMS.items() if mark in self.browser), "")
        return f"{browser} on {system}" if system else browser


class SecondFactor(models.Model):
    """An operator's second factor: time-based codes of an app (RFC 6238), and codes for when the app is lost.

    Both are stored encrypted. Until it is confirmed with a first code, it is asked of nobody.
    """

    user = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="second_factor")
    encrypted_secret = models.TextField()
    encrypted_codes = models.TextField(blank=True, help_text="JSON: the recovery codes that are left.")
    codes_left = models.PositiveSmallIntegerField(default=0)
    last_step = models.BigIntegerField(default=0, help_text="The 30 seconds of the last code that was accepted.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="Wrong codes since the last right one.")
    blocked_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return str(self.pk)
