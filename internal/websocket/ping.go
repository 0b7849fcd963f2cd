package websocket

import (
	"encoding/binary"
	"sync"
)

// maxPings is how many pings wait for their pongs. Of more, the oldest is
// forgotten.
const maxPings = 16

// pings are those that went one way. A ping's payload is free text, so it does
// not cross: a number does, and the pong with that number brings the payload
// back to where it came from. A sender that knows its pings by their payloads,
// as many do, finds them.
type pings struct {
	mu     sync.Mutex // the ways are two goroutines'
	last   uint64
	asked  [maxPings][]byte // by their numbers, in turn
	number [8]byte          // of the last, as sent
}

// ask returns what a ping with this payload is sent with, which is good until
// the next one. An empty one needs no number.
func (p *pings) ask(payload []byte) []byte {
	if len(payload) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.asked[p.last%maxPings] = append([]byte(nil), payload...)
	binary.BigEndian.PutUint64(p.number[:], p.last)
	return p.number[:]
}

// answer returns what a pong is sent back with: the payload of the ping that it
// answers, or nothing.
func (p *pings) answer(payload []byte) []byte {
	if len(payload) != len(p.number) {
		return nil
	}
	n := binary.BigEndian.Uint64(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.last || p.last-n >= maxPings {
		return nil
	}
	asked := p.asked[n%maxPings]
	p.asked[n%maxPings] = nil
	return asked
}
