"""What is indexed: documents, and the words of a vocabulary. The index itself is the migration's (0004_search)."""

from django.db import models

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.search.tokenizer import LONGEST_TOKEN


class SearchDocument(models.Model):
    """A text, as the tokens that the index holds of it.

    `group_id` is the row that is found, `key` the row of the text, 0 for the group's heading. `words` are the text's
    tokens in their order; `terms` what else finds the document: who may see it, that it is a heading, its single
    characters. Rows are written and deleted, never changed but for `settled`: false while the text may still change.

    On SQLite triggers keep a full-text table beside this one, on PostgreSQL it is an index of this table.
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
    """A word that mistyped ones are corrected to, for those who share its vocabulary; and in how many documents it is.

    The last document to hold it takes it away.
    """

    pk = models.CompositePrimaryKey("vocabulary", "word")
    vocabulary = models.BigIntegerField(help_text="Digest of the vocabulary's name.")
    word = CodePointCharField(max_length=LONGEST_TOKEN)
    documents = models.IntegerField()

    def __str__(self) -> str:
        return self.word
