package deliver

import "time"

// Observer is told what becomes of one partner's records, for metrics. Its
// methods are called by many goroutines, some of them under a lock: they must
// not wait, and must not call the Delivery.
type Observer interface {
	// Accepted: the partner took a POST of so many records, and of so many bytes
	// on the wire.
	Accepted(records, bytes int)
	// Delivered: a record was taken so long after it had been accepted here.
	// Called once for each.
	Delivered(waited time.Duration)
	// Failed: an attempt to get a batch on its way failed, and why; another
	// follows.
	Failed(reason Reason)
	// Dead: records became dead letters, with the status that they got; 0: they
	// were no JSON, and never sent.
	Dead(records, status int)
	// Withheld: records were taken out by the recheck.
	Withheld(records int)
	// BreakerChanged: the breaker is now "closed", "half-open" or "open".
	BreakerChanged(state string)
}

// unobserved is the Observer of those who do not want one.
type unobserved struct{}

func (unobserved) Accepted(int, int)       {}
func (unobserved) Delivered(time.Duration) {}
func (unobserved) Failed(Reason)           {}
func (unobserved) Dead(int, int)           {}
func (unobserved) Withheld(int)            {}
func (unobserved) BreakerChanged(string)   {}
