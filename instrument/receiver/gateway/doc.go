// Package gateway meters LLM calls on their way: a reverse proxy on the loopback
// interface between a program and its provider, which makes a span of every
// inference call, with its model, tokens, status and waits, and of every
// conversation an agent.
//
// Caveats first.
//
//   - Only calls that go to the address in Environment are seen. A program that
//     has its provider's address built in, or reads it from a file, passes by;
//     Notes tells of what can be known beforehand.
//   - It is not a cache, a router or a filter, and follows no redirect. What passes
//     is not changed: path, query, bodies, streams and status are those of the two
//     ends; headers too, but for those that HTTP means for one hop only (RFC 9110,
//     7.6.1). Programs can still tell that their base URL is another, and some
//     switch features by it.
//   - POSTs to the endpoints in a table become spans; everything else passes
//     without one. Answers of background jobs that are fetched later, realtime
//     sessions and batches carry usage that is not seen.
//   - Usage is what the provider says. A chat completion that streams says it
//     only if the request has stream_options.include_usage. Answers in a content
//     coding other than gzip and deflate pass unread.
//   - No body, header or key is kept, nor told in an error. Of the request: model,
//     whether it streams, sizes, a hash of the first messages, and a short name
//     that a pattern finds in the first one. Of the answer: ids, model, counts,
//     reasons and error codes, and those only if they are short words.
//   - Which agent a call belongs to is told by headers where there are any. Else
//     calls that begin with the same system and user messages are one agent: two
//     agents that were asked the same thing in the same words are taken for one.
//     Whether another source tells of the same agent is not asked here: package run
//     finds that out from the events.
package gateway
