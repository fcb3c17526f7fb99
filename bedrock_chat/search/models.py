"""The rows that are indexed: documents, and the words of a vocabulary. Migration 0004_search makes the index itself."""

from django.db import models

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.search.tokenizer import LONGEST_TOKEN


class SearchDocument(models.Model):
    """A text, as the tokens that the index holds of it.

    `group_id` is the row that a search finds, `key` the row of the text, 0 for the group's heading. `words` are the
    text's tokens in their order. `terms` are the other tokens of the document: who may see it, that it is a heading,
    its single characters. Rows are inserted and deleted. Only `settled` changes: it is false while the text may change.

    On SQLite triggers keep a full-text table beside this one. On PostgreSQL the index is one of this table.
    """

    kind = models.CharField(max_length=32)
    group_id = models.BigIntegerField()
    key = models.BigIntegerField()
    vocabulary = models.BigIntegerField(help_text="Whose words these are: a `SearchWord.vocabulary`.")
    settled = models.BooleanField(default=True)
    terms = models.TextField()
    words = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "group_id", "key"], name="one_document_per_key"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.group_id}: {self.key}"


class SearchWord(models.Model):
    """A word that typos are corrected to, for those who share its vocabulary, and the number of documents that hold it.

    It is deleted with the last document that holds it.
    """

    pk = models.CompositePrimaryKey("vocabulary", "word")
    vocabulary = models.BigIntegerField(help_text="Digest of the vocabulary's name.")
    word = CodePointCharField(max_length=LONGEST_TOKEN)
    documents = models.IntegerField()

    def __str__(self) -> str:
        return self.word
