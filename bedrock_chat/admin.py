"""Console pages of the kernel's models."""

from django.contrib import admin
from django.contrib.auth.models import Group

from bedrock_chat.console import ReadOnlyAdmin
from bedrock_chat.identity.models import User

admin.site.unregister(Group)  # groups come with tokens


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ["username", "email", "id", "token_groups", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["id", "username", "email", "login"]
    ordering = ["-created_at"]
    fields = ["id", "username", "email", "token_groups", "login", "is_active", "is_staff", "created_at", "last_login"]
