package deliver

// verdict is what an answer's status means for the records that were posted.
type verdict int

const (
	retry    verdict = iota // the same again, later
	accepted                // the partner has them
	split                   // one of them may be to blame: look for it
	refused                 // the partner will never take them
	conflict                // a POST of the same key may still be under way
)

// statuses are the verdicts on statuses of RFC 9110, RFC 6585 and others, where
// they differ from those of their class (see judge).
//
//   - An operator can put right what says who may post (401, 402, 403, 407), and
//     time what says that it is too early (408, 423, 424, 425, 429), or that this
//     was the wrong connection (421).
//   - 409 is what draft-ietf-httpapi-idempotency-key-header has a partner answer
//     while the POST that is repeated has not come to its end.
//   - What says something about the method, the URL or the headers is as true of
//     each part of the batch.
var statuses = map[int]verdict{
	401: retry, 402: retry, 403: retry, 407: retry,
	408: retry, 421: retry, 423: retry, 424: retry, 425: retry, 429: retry,
	409: conflict,
	404: refused, 405: refused, 406: refused, 410: refused, 411: refused, 412: refused, 414: refused,
	415: refused, 416: refused, 417: refused, 426: refused, 428: refused, 431: refused, 451: refused,
}

// judge returns the verdict on a status. A 4xx that is not in the table counts
// as 400 (RFC 9110, 15): some record may be what the partner does not like, as
// with 413 and 422. All else that is no 2xx, redirects included, is tried again:
// where records go is for the policy to say, not for the partner.
func judge(status int) verdict {
	v, known := statuses[status]
	switch {
	case known:
		return v
	case status >= 200 && status < 300:
		return accepted
	case status >= 400 && status < 500:
		return split
	}
	return retry
}

// Reason is why an attempt failed. There are these, and no others.
type Reason string

// The reasons.
const (
	Unreachable  Reason = "unreachable"  // no connection: name, route or port
	Address      Reason = "address"      // the transport's hook refuses the address
	TLS          Reason = "tls"          // the handshake failed
	Timeout      Reason = "timeout"      // no whole answer in time
	Broken       Reason = "broken"       // reset, cut off, or no HTTP
	Redirect     Reason = "redirect"     // 3xx
	Unauthorized Reason = "unauthorized" // 401, 402, 403, 407
	Busy         Reason = "busy"         // 408, 421, 423, 424, 425, 429, 503
	Conflict     Reason = "conflict"     // 409
	ServerError  Reason = "server_error" // any other status
	RecheckError Reason = "recheck"      // nobody can say what may still go
	QueueError   Reason = "queue"        // the queue cannot be asked
	LeaseLost    Reason = "lease_lost"   // another consumer has the partition
)

// reasonOf returns what a status that is tried again comes to.
func reasonOf(status int) Reason {
	switch status {
	case 401, 402, 403, 407:
		return Unauthorized
	case 408, 421, 423, 424, 425, 429, 503:
		return Busy
	case 409:
		return Conflict
	}
	if status >= 300 && status < 400 {
		return Redirect
	}
	return ServerError
}
