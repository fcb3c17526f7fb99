"""Lists that are paged by key, and whose page adds to all rows of a page at once."""

from typing import Any

from django.http import HttpRequest

from bedrock_chat.console.key_paging import KeyPagedChangeList


class CompletedChangeList(KeyPagedChangeList):
    """Calls the page's `complete_page` with the rows that are shown, so that no column costs a query per row."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        page: Any = self.model_admin
        page.complete_page(request, self.result_list)
