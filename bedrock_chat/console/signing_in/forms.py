"""What operators type to sign in and to guard their account."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from bedrock_chat.identity.models import User
from bedrock_chat.identity.passwords import LONGEST_PASSWORD

LONGEST_CODE = 40


class CodeForm(forms.Form):
    """A code. Whether it is right, its view finds out."""

    code = forms.CharField(
        label="Code of your app, or a recovery code",
        max_length=LONGEST_CODE,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false", "autocapitalize": "off"}
        ),
    )


class FirstCodeForm(CodeForm):
    """The first code of an app that is being enrolled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "The code that the app shows now"
        self.order_fields(["password", "code"])


class FirstCodeAndPasswordForm(FirstCodeForm):
    """The same for somebody who is signed in: a session that was left open must not be enough to lock its owner out.

    The password is checked as in a sign-in: limited, counted and logged.
    """

    password = forms.CharField(
        label="Your password",
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        assert isinstance(self._request.user, User)
        if authenticate(self._request, username=self._request.user.login, password=password) is None:
            raise ValidationError("This is not your password.")
        return password
