package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// answering listens for requests, lets look at each body, and answers 200.
func answering(look func(body []byte)) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	const response = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReaderSize(conn, 64<<10)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return
					}
					look(body)
					if _, err := io.WriteString(conn, response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String(), nil
}

// benchRequest is a request on the wire.
func benchRequest(path, contentType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: okhttp/4.12.0\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
}

// sendLines sends requests of lines over some connections, each connection one after
// the other. The connections stay.
func sendLines(clients map[string][]*bufio.ReadWriter, addr, path string, connections, requests int) error {
	for len(clients[addr]) < connections {
		c, err := dialBench(addr)
		if err != nil {
			return err
		}
		clients[addr] = append(clients[addr], c)
	}
	var all [][]byte
	for at := 0; at < benchSubjects; at += perBenchRequest {
		var body strings.Builder
		for n := range perBenchRequest {
			body.WriteString(benchBid(at+n, n) + "\n")
		}
		all = append(all, benchRequest(path, "application/x-ndjson", body.String()))
	}
	var wg sync.WaitGroup
	problems := make([]error, connections)
	for i := range connections {
		wg.Go(func() {
			for n := i; n < requests && problems[i] == nil; n += connections {
				problems[i] = exchange(clients[addr][i], all[n%len(all)], 1)
			}
		})
	}
	wg.Wait()
	for _, err := range problems {
		if err != nil {
			return err
		}
	}
	return nil
}

func dialBench(addr string) (*bufio.ReadWriter, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn)), nil
}

// sendTimed sends n single records to each of the paths, in turns and at a pace of so
// many requests a second, each when it is due, whatever became of the others. It
// returns, for each path, the median and the 99th percentile in µs. A request's time
// counts from when it was due.
func sendTimed(addr string, paths []string, n, rate int) (string, error) {
	const idle = 64
	pool := make(chan *bufio.ReadWriter, idle)
	took := make([][]time.Duration, len(paths))
	var mu sync.Mutex
	var wg sync.WaitGroup
	var problem error
	begun := time.Now()
	for i := range n * len(paths) {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		at := i % len(paths)
		wg.Go(func() {
			var c *bufio.ReadWriter
			var err error
			begun := due
			select {
			case c = <-pool:
			default:
				c, err = dialBench(addr)
				begun = time.Now() // a new connection is no part of it
			}
			if err == nil {
				user := i / len(paths) % benchSubjects
				err = exchange(c, benchRequest(paths[at], "application/json", benchBid(user, i)), 1)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problem = err
				return
			}
			took[at] = append(took[at], time.Since(begun))
			select {
			case pool <- c:
			default:
			}
		})
	}
	wg.Wait()
	if problem != nil {
		return "", problem
	}
	var out strings.Builder
	for _, all := range took {
		slices.Sort(all)
		fmt.Fprintf(&out, "%d %d ", all[len(all)/2].Microseconds(), all[len(all)*99/100].Microseconds())
	}
	return out.String(), nil
}
