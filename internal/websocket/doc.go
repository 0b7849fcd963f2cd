// Package websocket inspects the messages of an upgraded connection (RFC 6455)
// on their way through a proxy.
//
// Frames are taken apart and made anew, in both directions. Data goes on only
// as whole messages that were inspected; of control frames only what the
// protocol needs crosses. A connection that breaks the rules, or that an
// inspection refuses, ends with a close frame to both sides and not a byte
// more.
//
// It uses the frame headers and masks of github.com/gobwas/ws, which parses
// without owning the connection.
//
// The package must never know what personal data is, who is concerned, or
// HTTP.
package websocket

import (
	"fmt"
)

// Inspect returns what is to be sent in the place of a message; an error ends
// the connection with code 1008. text tells a text message, which is valid
// UTF-8, from a binary one. msg may be written to and returned, and is not to
// be kept. The two directions call at the same time.
type Inspect func(text bool, msg []byte) ([]byte, error)

// The codes with which connections are ended here (RFC 6455, section 7.4.1).
const (
	ProtocolError   = 1002
	InvalidText     = 1007
	PolicyViolation = 1008
	MessageTooBig   = 1009
)

// Error is why a connection was ended here: what Read and Write return then.
type Error struct {
	Code int   // that the close frames carry
	Err  error // from the Inspect, nil where it was none
}

// Error says nothing of what was sent.
func (e *Error) Error() string {
	return fmt.Sprintf("WebSocket connection ended with code %d", e.Code)
}

// Unwrap returns what the Inspect returned.
func (e *Error) Unwrap() error { return e.Err }
