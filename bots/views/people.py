"""Routes of people and groups."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.views import WireViewSet, validated
from bots import people
from bots.serializers.people import GroupSerializer, PersonSerializer, PrefixSerializer

TAG = ["user"]
_ALICE = {"id": "32676be9-f566-40f1-96c1-15c6abc7dcd9", "name": "alice", "email": "alice@example.com"}
ONE_PERSON = OpenApiExample("Alice", value=_ALICE, response_only=True, status_codes=["200"])
ONE_GROUP = OpenApiExample(
    "Sales", value={"name": "sales", "description": "Those who sell"}, response_only=True, status_codes=["200"]
)


class PeopleViewSet(WireViewSet):
    """The people and groups that bots can be shared with."""

    @extend_schema(
        operation_id="search_users",
        summary="Look for people",
        description="By the beginning of their name or address, ten at most. For callers who may create bots.",
        tags=TAG,
        parameters=[PrefixSerializer],
        examples=[ONE_PERSON],
        responses={200: PersonSerializer(many=True), **errors(400, 503)},
    )
    def search(self, request: Request) -> Response:
        matches = people.search_people(_prefix(request), actor=caller_of(request))
        return Response(PersonSerializer(matches, many=True).data)

    @extend_schema(
        operation_id="search_user_groups",
        summary="Look for groups",
        description="By the beginning of their name, in any case. For callers who may create bots.",
        tags=TAG,
        parameters=[PrefixSerializer],
        examples=[ONE_GROUP],
        responses={200: GroupSerializer(many=True), **errors(400, 503)},
    )
    def search_groups(self, request: Request) -> Response:
        matches = people.search_groups(_prefix(request), actor=caller_of(request))
        return Response(GroupSerializer(matches, many=True).data)

    @extend_schema(
        operation_id="get_user",
        summary="Who somebody is",
        description="A caller who may not create bots learns only of the owners of bots that they may use, and of "
        "people with whom they share a bot of their own; everybody else is a 404.",
        tags=TAG,
        examples=[ONE_PERSON],
        responses={200: PersonSerializer, **errors(404, 503)},
    )
    def retrieve(self, request: Request, user_id: str) -> Response:
        return Response(PersonSerializer(people.find_person(user_id, actor=caller_of(request))).data)


def _prefix(request: Request) -> str:
    """Raises ValidationError."""
    prefix: str = validated(PrefixSerializer, request.query_params)["prefix"]
    return prefix
