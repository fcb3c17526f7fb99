"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again does nothing twice.

A key is known within a lineage of API keys and a route, for KEPT. Only accepted requests have their keys kept.

The steps of a request with a key:

1. `claiming.keyed_of` reads the header, before anything is counted; None without one. `claiming.find` looks the key up.
   A known one passes the limits free, and does nothing but step 2.
2. Once the body is parsed, `earlier.replay(digest_of(body))` gives the answer that was kept, as the text that step 3
   stored. It raises Unprocessable (422) for another body, and Conflict (409) while the first request runs.
3. A key that is not known is claimed when the request is accepted. Either raises Repeated where an equal request came
   first meanwhile: what was counted is given back, and step 2 is done with `repeated.earlier`.

   - An answer that is there at once: `claiming.keep(keyed, digest, answer)`, in the transaction that accepts. Whether a
     process dies before or after, key and acceptance are both there or neither.
   - An answer that takes long: `with claiming.begin(keyed, digest) as claim`, outside of transactions, and
     `claim.finish(answer)` when it is whole. Leaving the block without that frees the key, so that what has failed can
     be sent again. While it runs the heartbeat renews its lease; a process that dies loses it within
     TURN_LEASE_SECONDS.

All of this uses the database, so it is called on a thread, and holds no connection between the calls.

Whether an answer was streamed need not be kept where the body says so: an equal body wants the same again, and makes
the stream of the answer's text.
"""
