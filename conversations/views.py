"""Conversations over REST: each view parses, makes one call and renders."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from bedrock_chat.database import database_now
from bedrock_chat.identity.cognito import caller_of
from bedrock_chat.wire.openapi import VOID, errors
from conversations import access, editing, rendering, titles, turn
from conversations.serializers import (
    ChatInputSerializer,
    ChatOutputSerializer,
    ConversationMetaSerializer,
    ConversationSerializer,
    NewTitleSerializer,
    ProposedTitleSerializer,
    read_chat_input,
)

TAG = ["conversation"]


class TurnViewSet(ViewSet):
    """A question and its answer."""

    @extend_schema(
        operation_id="post_conversation",
        summary="Send a message and get the answer",
        tags=TAG,
        request=ChatInputSerializer,
        responses={200: ChatOutputSerializer, **errors(400, 404, 409, 413, 415, 502, 503, 504)},
    )
    def create(self, request: Request) -> Response:
        answer = turn.drain(turn.run(caller_of(request), read_chat_input(request.data)))
        return Response(rendering.chat_output(answer, access.BlobReader()))


class ConversationListViewSet(ViewSet):
    """All conversations of the caller."""

    @extend_schema(
        operation_id="get_conversations",
        summary="List your conversations, newest first",
        tags=TAG,
        responses={200: ConversationMetaSerializer(many=True), **errors()},
    )
    def list(self, request: Request) -> Response:
        return Response(rendering.conversation_metas(access.visible_conversations(caller_of(request))))

    @extend_schema(
        operation_id="delete_conversations",
        summary="Delete all your conversations",
        tags=TAG,
        responses={200: VOID, **errors()},
    )
    def destroy_all(self, request: Request) -> Response:
        editing.delete_all(actor=caller_of(request))
        return Response(None)


class ConversationViewSet(ViewSet):
    """One conversation."""

    @extend_schema(
        operation_id="get_conversation",
        summary="Open a conversation",
        tags=TAG,
        responses={200: ConversationSerializer, **errors(404)},
    )
    def retrieve(self, request: Request, conversation_id: str) -> Response:
        conversation = access.get_conversation(caller_of(request), conversation_id)
        return Response(rendering.conversation_output(conversation, database_now()))

    @extend_schema(
        operation_id="delete_conversation",
        summary="Delete a conversation",
        tags=TAG,
        responses={200: VOID, **errors(404)},
    )
    def destroy(self, request: Request, conversation_id: str) -> Response:
        editing.delete(conversation_id, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="patch_conversation_title",
        summary="Rename a conversation",
        tags=TAG,
        request=NewTitleSerializer,
        responses={200: VOID, **errors(400, 404, 413, 415)},
    )
    def rename(self, request: Request, conversation_id: str) -> Response:
        serializer = NewTitleSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        title: Any = serializer.validated_data["new_title"]
        editing.rename(conversation_id, title, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="get_proposed_title",
        summary="Propose a title",
        tags=TAG,
        responses={200: ProposedTitleSerializer, **errors(404, 503)},
    )
    def propose_title(self, request: Request, conversation_id: str) -> Response:
        return Response({"title": titles.propose(conversation_id, actor=caller_of(request))})
