package caddymodule

import (
	"math"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// unmarshal reads what stands after `forward`. Syntax:
//
//	forward <recipient> <url...> {
//		purposes <purpose...>
//		batch    <records> [<age> [<size>]]
//		format   ndjson | array | single
//		keyed
//		record_ids off | <path...>
//		gzip
//		header   <name> <value>
//		timeout  <duration>
//		rate     <records per second>
//		retry    <shortest> <longest>
//		breaker  <failures> <time>
//		sample   <records>
//		bound    <size> [refuse | drop_oldest]
//	}
//
// header may be repeated.
func (f *Forward) unmarshal(d *caddyfile.Dispenser) error {
	if !d.Args(&f.Recipient) {
		return d.Err("to whom, and where? Write forward RECIPIENT URL")
	}
	if f.URLs = d.RemainingArgs(); len(f.URLs) == 0 {
		return d.Errf("where do the records for %s go? Write forward %s https://partner.example/events", f.Recipient, f.Recipient)
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "header" {
			return d.Errf("%s is given twice", name)
		}
		seen[name] = true
		if err := f.unmarshalOption(d, name, d.RemainingArgs()); err != nil {
			return err
		}
	}
	return nil
}

func (f *Forward) unmarshalOption(d *caddyfile.Dispenser, name string, args []string) error {
	count := func(least, most int, write string) error {
		if len(args) < least || len(args) > most {
			return d.Errf("%s: write %s", name, write)
		}
		return nil
	}
	switch name {
	case "purposes":
		if len(args) == 0 {
			return d.Errf("%s takes at least one argument", name)
		}
		f.Purposes = args
	case "batch":
		if err := count(1, 3, "batch 100 1s 1MiB"); err != nil {
			return err
		}
		return f.unmarshalBatch(d, args)
	case "format":
		if err := count(1, 1, "format ndjson, format array or format single"); err != nil {
			return err
		}
		f.Format = args[0]
	case "record_ids":
		if len(args) == 0 {
			return d.Errf("%s takes paths, or off", name)
		}
		f.RecordIDs = args
	case "keyed":
		f.Keyed = true
		return count(0, 0, "keyed")
	case "gzip":
		f.Gzip = true
		return count(0, 0, "gzip")
	case "header":
		if err := count(2, 2, "header Authorization \"Bearer {env.ADX_TOKEN}\""); err != nil {
			return err
		}
		if f.Header == nil {
			f.Header = http.Header{}
		}
		f.Header.Add(args[0], args[1])
	case "timeout":
		if err := count(1, 1, "timeout 10s"); err != nil {
			return err
		}
		return parseDuration(d, args[0], &f.Timeout)
	case "rate":
		if err := count(1, 1, "rate 500, in records a second"); err != nil {
			return err
		}
		n, err := strconv.ParseFloat(args[0], 64)
		if err != nil || !(n > 0) || math.IsInf(n, 0) {
			return d.Errf("rate %s is no number of records a second", args[0])
		}
		f.Rate = n
	case "retry":
		if err := count(2, 2, "retry 500ms 1m"); err != nil {
			return err
		}
		f.Retry = new(ForwardRetry)
		if err := parseDuration(d, args[0], &f.Retry.Min); err != nil {
			return err
		}
		return parseDuration(d, args[1], &f.Retry.Max)
	case "breaker":
		if err := count(2, 2, "breaker 5 30s"); err != nil {
			return err
		}
		n, err := strconv.ParseUint(args[0], 10, 32)
		if err != nil || n == 0 {
			return d.Errf("breaker %s is no number of failures", args[0])
		}
		f.Breaker = &ForwardBreaker{Failures: uint32(n)}
		return parseDuration(d, args[1], &f.Breaker.Open)
	case "sample":
		if err := count(1, 1, "sample 10000"); err != nil {
			return err
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxSample {
			return d.Errf("sample %s is no number of records from 1 to %d", args[0], maxSample)
		}
		f.Sample = n
	case "bound":
		if err := count(1, 2, "bound 256MiB refuse, or bound 256MiB drop_oldest"); err != nil {
			return err
		}
		n, err := humanize.ParseBytes(args[0])
		if err != nil || n < minBound || n > 1<<50 {
			return d.Errf("bound %s is no size of 1 MiB or more", args[0])
		}
		f.Bound = int64(n)
		if len(args) == 2 {
			f.Full = args[1]
		}
	default:
		return d.Errf("unrecognized subdirective %q of forward; it knows purposes, batch, format, keyed, record_ids, gzip, header, timeout, rate, retry, breaker, sample and bound", name)
	}
	return nil
}

func (f *Forward) unmarshalBatch(d *caddyfile.Dispenser, args []string) (err error) {
	f.Batch = new(ForwardBatch)
	if f.Batch.Count, err = strconv.Atoi(args[0]); err != nil || f.Batch.Count < 1 {
		return d.Errf("batch %s is no number of records", args[0])
	}
	if len(args) > 1 {
		if err := parseDuration(d, args[1], &f.Batch.Age); err != nil {
			return err
		}
	}
	if len(args) > 2 {
		n, err := humanize.ParseBytes(args[2])
		if err != nil || n == 0 || n > 1<<30 {
			return d.Errf("batch: %s is no size between 1 byte and 1 GiB", args[2])
		}
		f.Batch.Bytes = int(n)
	}
	return nil
}
