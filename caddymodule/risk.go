package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/consentgate/consentgate/internal/risk"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "risk",
		Usage:     "[--recipient NAME --policy POLICY] [flags] SAMPLE",
		Short:     "Measures whether people can be re-identified in what a recipient got",
		CobraFunc: func(cmd *cobra.Command) { defineRisk(cmd, time.Now) },
	})
}

// assessment is the command that makes a re-identification risk report.
type assessment struct {
	policy         string
	recipient      string
	before         string
	other          string
	otherRecipient string
	html, json     string
	lang           string
	memory         string
	quasi          []string
	sensitive      []string
	ignore         []string
	subject        string
	subset         int
	limits         risk.Thresholds

	in            io.Reader
	out, progress io.Writer
	every         time.Duration // between two lines of progress
	now           func() time.Time

	last  time.Time
	cells int
}

// defineRisk makes cmd the command risk.
func defineRisk(cmd *cobra.Command, now func() time.Time) {
	a := &assessment{every: time.Second, now: now}
	cmd.Use = "risk [--recipient NAME --policy POLICY] [flags] SAMPLE"
	cmd.Short = "Measures whether people can be re-identified in what a recipient got"
	cmd.Long = `
Reads what a recipient got, and reports how well people are hidden in it:
k-anonymity, l-diversity, t-closeness, which fields single people out, and what
two recipients could join. SAMPLE holds JSON objects, one a line or in an array,
gzip or not; "-" is the standard input. A report holds no value of the sample.

With --policy and --recipient the policy says what each field is: what it lets go
to the recipient is a quasi-identifier, what it makes a pseudonym is none, and
what it does not let go is an alarm. Without them every field is a
quasi-identifier, but for what looks like an id, which is an alarm. --quasi,
--sensitive and --ignore override that, with paths as in policies; they may be
repeated, or given with commas.

--subject names the field that tells whose a record is, such as a pseudonym:
without it each record counts as a person of its own, which says too little where
a person has several.

Memory is bounded by --max-memory. A sample that does not fit is cut by subject;
the report says so.

The exit status is 0 when the sample keeps within all thresholds, and 1 when it
does not or cannot be read, so that a build can depend on it.
`
	cmd.Example = `  consentgate risk --recipient adx --policy liaoxiaobang --subject device.ifa sample.ndjson
  consentgate risk --recipient adx --policy liaoxiaobang sample.ndjson.gz --before raw.ndjson.gz --html report.html
  consentgate risk sample.ndjson --quasi device.model,device.geo --max-below 0.05`
	cmd.Args = cobra.ExactArgs(1)
	f := cmd.Flags()
	f.StringVar(&a.policy, "policy", "", "the policy: a file, or the name of one that ships with the program")
	f.StringVar(&a.recipient, "recipient", "", "who got the sample, as the policy names it")
	f.StringVar(&a.before, "before", "", "the same records before they were de-identified")
	f.StringVar(&a.other, "other", "", "what another recipient got, to count what the two could join")
	f.StringVar(&a.otherRecipient, "other-recipient", "", "who got that, as the policy names it; default: --recipient")
	f.StringVar(&a.html, "html", "", "write the report as HTML to this file")
	f.StringVar(&a.json, "json", "", "write the report as JSON to this file; - is the standard output, in place of the summary")
	f.StringVar(&a.lang, "lang", "en", "the language of the HTML: en or zh")
	f.StringVar(&a.memory, "max-memory", "256MiB", "how much memory the hashes of a sample may take")
	f.StringVar(&a.subject, "subject", "", "the path of the field that tells whose a record is; with --ignore for the same path it only serves to measure")
	f.StringSliceVar(&a.quasi, "quasi", nil, "the paths of the quasi-identifiers, and of no others")
	f.StringSliceVar(&a.sensitive, "sensitive", nil, "the paths of the sensitive fields, and of no others")
	f.StringSliceVar(&a.ignore, "ignore", nil, "the paths of what is left out")
	f.IntVar(&a.subset, "subset", 3, "the largest set of fields that is tried: 1, 2 or 3")
	f.IntVar(&a.limits.MinK, "min-k", 20, "how many subjects an equivalence class must have")
	f.Float64Var(&a.limits.MaxBelow, "max-below", 0, "the share of records that may be in smaller classes, or in classes below --min-l")
	f.Float64Var(&a.limits.MaxUnique, "max-unique", 0.01, "the share of records, and of subjects, that may be alone in their class")
	f.IntVar(&a.limits.MinL, "min-l", 2, "how many values of a sensitive field a class must have")
	f.Float64Var(&a.limits.MaxT, "max-t", 0, "how far a sensitive field's distribution in a class may be from that in the whole; 0: not judged")
	f.Float64Var(&a.limits.MaxLinked, "max-linked", 0.01, "the share of records that may match exactly one of --other")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		a.in, a.out, a.progress = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		return a.run(args[0])
	}
}

// check refuses flags that cannot be meant.
func (a *assessment) check(sample string) error {
	l := a.limits
	switch {
	case a.lang != "en" && a.lang != "zh":
		return fmt.Errorf("--lang %s: it is en or zh", a.lang)
	case (a.policy == "") != (a.recipient == ""):
		return errors.New("--policy and --recipient go together: a policy says what a recipient may have")
	case a.otherRecipient != "" && (a.other == "" || a.policy == ""):
		return errors.New("--other-recipient needs --other and --policy")
	case l.MinK < 1 || l.MinL < 1:
		return errors.New("--min-k and --min-l are at least 1")
	case a.subset < 1 || a.subset > 3:
		return errors.New("--subset is 1, 2 or 3")
	}
	for name, share := range map[string]float64{"max-below": l.MaxBelow, "max-unique": l.MaxUnique, "max-t": l.MaxT, "max-linked": l.MaxLinked} {
		if !(share >= 0 && share <= 1) { // NaN neither
			return fmt.Errorf("--%s is a share between 0 and 1", name)
		}
	}
	inputs := 0
	for _, name := range []string{sample, a.before, a.other} {
		if name == "-" {
			inputs++
		}
	}
	if inputs > 1 {
		return errors.New("only one of the files can be the standard input")
	}
	bytes, err := humanize.ParseBytes(a.memory)
	if err != nil || bytes < 1<<20 || bytes > 1<<40 {
		return fmt.Errorf("--max-memory %s: a size from 1MiB on, such as 256MiB", a.memory)
	}
	a.cells = int(bytes / 8)
	return nil
}

func (a *assessment) run(sample string) error {
	if err := a.check(sample); err != nil {
		return err
	}
	flags := map[string][]string{"quasi": a.quasi, "sensitive": a.sensitive, "ignore": a.ignore}
	if a.subject != "" {
		flags["subject"] = []string{a.subject}
	}
	paths, err := newPathFlags(flags)
	if err != nil {
		return err
	}
	report := &risk.Report{Format: risk.Format, Date: a.now().UTC().Truncate(time.Second)}
	var mine, theirs *riskPolicy
	if a.policy != "" {
		if mine, theirs, err = a.loadPolicy(report); err != nil {
			return err
		}
	}
	s, err := a.read(sample, &riskFields{flags: paths, policy: mine})
	if err != nil {
		return err
	}
	var before, other *risk.Sample
	if a.before != "" {
		if before, err = a.read(a.before, &riskFields{flags: paths, policy: mine, raw: true}); err != nil {
			return err
		}
	}
	if a.other != "" {
		if other, err = a.read(a.other, &riskFields{flags: paths, policy: theirs}); err != nil {
			return err
		}
	}
	if err := paths.unmet(); err != nil {
		return err
	}
	if a.subject != "" && !s.HasSubjects() {
		return fmt.Errorf("--subject %s: no record of %s says whose it is", a.subject, s.Name)
	}

	want := risk.MeasureOptions{MinK: a.limits.MinK, MinL: a.limits.MinL, Subset: a.subset}
	a.tell("measuring %s", s.Name)
	report.Sample = risk.Measure(s, want)
	if before != nil {
		a.tell("measuring %s", before.Name)
		report.Before = risk.Measure(before, want)
	}
	if other != nil {
		a.tell("comparing with %s", other.Name)
		report.Link = risk.LinkSamples(s, other, want)
		report.Link.Recipient = a.otherRecipient
	}
	report.Judge(a.limits)
	if err := a.write(report); err != nil {
		return err
	}
	if v := report.Verdict; !v.Pass {
		return fmt.Errorf("%d of %d checks fail", v.Failed, len(v.Checks))
	}
	return nil
}

// loadPolicy reads the policy and says in the report which it is.
func (a *assessment) loadPolicy(report *risk.Report) (mine, theirs *riskPolicy, err error) {
	p, err := (&policySource{name: a.policy}).load()
	if err != nil {
		return nil, nil, err
	}
	if mine, err = newRiskPolicy(p, a.recipient, a.now()); err != nil {
		return nil, nil, err
	}
	theirs = mine
	if a.otherRecipient != "" {
		if theirs, err = newRiskPolicy(p, a.otherRecipient, a.now()); err != nil {
			return nil, nil, err
		}
	}
	r := mine.recipient
	report.Policy = &risk.Policy{ID: p.ID(), Version: p.InForce(), Controller: p.Controller(), Digest: p.Digest()}
	report.Recipient = risk.Recipient{
		ID: r.ID, TitleZH: r.Title.ZH, TitleEN: r.Title.EN, Kind: string(r.Kind), Vendor: r.Vendor, Country: r.Country,
	}
	return mine, theirs, nil
}

// read reads one file.
func (a *assessment) read(name string, fields *riskFields) (*risk.Sample, error) {
	in, shown := a.in, "standard input"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in, shown = file, filepath.Base(name)
	}
	o := fields.riskOptions()
	o.Cells = a.cells
	a.last = a.now()
	o.Progress = func(records int) {
		if records%1024 != 0 {
			return // the clock is not free
		}
		if now := a.now(); now.Sub(a.last) >= a.every {
			a.last = now
			fmt.Fprintf(a.progress, "%s: %d records\n", shown, records)
		}
	}
	return risk.Read(in, shown, o)
}

// tell says what is being done, once reading has taken a while.
func (a *assessment) tell(format string, args ...any) {
	if now := a.now(); now.Sub(a.last) >= a.every {
		a.last = now
		fmt.Fprintf(a.progress, format+"\n", args...)
	}
}

// write writes the report in every form that was asked for.
func (a *assessment) write(report *risk.Report) error {
	if a.json != "-" {
		if err := report.WriteText(a.out); err != nil {
			return err
		}
	}
	if a.json == "-" {
		if err := report.WriteJSON(a.out); err != nil {
			return err
		}
	} else if a.json != "" {
		if err := writeReport(a.json, report.WriteJSON); err != nil {
			return err
		}
	}
	if a.html == "" {
		return nil
	}
	return writeReport(a.html, func(w io.Writer) error { return report.WriteHTML(w, risk.Language(a.lang)) })
}

// writeReport writes a file.
func writeReport(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
