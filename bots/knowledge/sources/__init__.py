"""What a bot's knowledge is made from: its files, web pages, sitemaps and folders in S3. How a sync calls it:

1. **The web of a bot** is one `scope.Web.of(seeds, reach, include, exclude)`, made once a slice: which addresses belong
   to which seed, and what the filters let pass. It raises SourceFault for a stored pattern that RE2 refuses.
2. **Where to begin** (no network): `uploads.location(name, entry)` for a file, `crawling.seed(url)` for a web address.
   A sitemap and a folder in S3 are lists, read part by part (network): `sitemaps.listed(url, rest, web, context)` and
   `s3.listed(url, rest, context)` begin with an empty `rest`, and go on with the `rest` of the Listed that they return,
   which is JSON and survives a restart; None is the end. All raise SourceFault, whose `sentence` is the reason.
   An object whose `etag` in the list is the document's is unchanged, and need not be fetched.
   A document's row becomes a Location again by `crawling.location(url, web, is_listed=…)` or `s3.location(url)`.
3. **A turn of the host** (database; the slice's own thread, outside any transaction), for pages and sitemaps:
   `pace.turn(host_of(url), robots.seconds_between(url))` returns in how many seconds the fetch may begin. Where that is
   more than `pace.LONGEST_WAIT` no turn was taken: another host comes first, or the slice ends. A site whose robots.txt
   is not known takes two. Where a redirect leads to, the fetch asks for a turn itself, by `context.turn`, and is
   interrupted where that is too far away.
   `pace.take_place(host)` is False while two fetches of this process run at that host; `pace.give_place_back(host)`
   after the fetch.
4. **Fetching** (network; a fetch thread, no database): `fetching.fetch(location, known, context)` returns a Fetched, or
   raises SourceFault and Interrupted. `known` is what the document's row has of the last time. robots.txt is fetched
   and kept within the process. After a fault with `retry_after` the slice calls `pace.postpone(host, retry_after)`.
   `is_gone` (404, 410): the document goes at once. `is_skipped`: of a type that is not read, which is no failure.
5. **Reading**: `path`, `kind`, `media_type`, `charset` and `final_url` are what the readers want. Delete the file of
   `path` when it was read. What is kept is `crawling.kept(fetched, reading)`.
6. **Links** (no network): `crawling.discovered(web, fetched, reading)` returns a Discovered: the location that names
   this document (after redirects and `rel=canonical`), whether it is kept at all (`noindex`; a seed that the filters
   refuse), and the locations that it leads to, each with its owner. Of a page that is unchanged, call it with the kept
   reading, so that what the page leads to counts as reached. Nothing is known of a page that is not kept.
"""
