"""What a bot's knowledge is made from: its files, web pages, sitemaps and folders in S3. How a sync calls it:

1. **Where to begin** (no network; every thread). Per source of the bot, in the order of its configuration:
   `uploads.location(name, entry)` for a file, `crawling.seed(url)` for a web address. A sitemap and an S3 folder are
   lists: `sitemaps.listed(url, web, context)` and `s3.listed(url, context)` are generators of `Listed`, one per
   file of a sitemap or page of a bucket's list, so that the slice looks at its time, and takes a turn of the host of
   `Listed.next_url`, before it asks for the next one. All raise SourceFault, whose `sentence` is the source's reason.
2. **The web of a bot** is one `scope.Web.of(seeds, scope, include, exclude)`: which links belong to which seed. Make
   it once a slice. It raises SourceFault for a stored pattern that RE2 refuses.
3. **A turn of the host** (database; the slice's own thread, outside any transaction): `pace.turn(host_of(url),
   seconds_between(url))`. It returns how many seconds from now the fetch may begin; More than `pace.LONGEST_WAIT`
   (5) means that no turn was taken: another host comes first, or the slice ends. `pace.places.take(host)` is the
   place of this process, False where two fetches run already; `pace.places.give_back(host)` when the fetch is over.
   Neither is needed for files and S3.
4. **Fetching** (network; a fetch thread, no database): `fetching.fetch(location, known, context)` returns a Fetched,
   or raises SourceFault and Interrupted. `known` is what the document's row has of the last time. robots.txt is asked
   and kept within the process. After a fault with `retry_after` the slice calls `pace.postpone(host, retry_after)`.
   `is_gone`: 404 and 410, the document goes at once. `is_skipped`: of a type that is not read, counted, no failure.
5. **Reading**: `Fetched.kind`, `media_type`, `charset`, `final_url` and `path` are what the readers want. Delete the
   file of `path` when it was read.
6. **Links** (no network; every thread): `crawling.discovered(web, fetched, reading)` returns a Discovered: the location
   that names this document (after redirects and `rel=canonical`), whether it is kept at all (`noindex`, a seed that
   the filters refuse), and the locations that it leads to. Of a page that has not changed (`is_unchanged`), call it
   with the kept reading, so that what the page leads to counts as reached. Send no `known` for a page that is not
   kept, since nothing of it is stored.
"""
