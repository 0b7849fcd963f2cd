package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func policyCoverageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "coverage [--config FILE] [--adapter NAME] [--json]",
		Short: "Lists every route that reaches an upstream, and its gate",
		Long: `
Lists every route of a configuration that reaches an upstream, with the gate in
front of it: to which recipient it goes, for which purposes, and in which mode.
Nothing is started and nothing is dialled.

Where the global option ` + "`consent`" + ` has ` + "`geoip`" + `, the names of the upstreams are
looked up, for a few seconds at most. An address in a country that is neither the
policy's home nor the one declared for the recipient is a warning; a name without
an answer is a note.

A proxied route without a gate is an error, unless the operator names it in the
global option ` + "`consent`" + `:

  uncovered LISTENER ROUTE UPSTREAM

with the first three columns as they are printed. A name that fits no route
without a gate is an error too, so that no exception outlives its reason. So are
two gates in a row, a ` + "`log_append`" + ` of bodies, and a log that gets requests and has
another format than ` + "`consent`" + `.

A gate that only observes, or that lets more pass than it would by default, is a
warning, and so is an app or a handler that this command cannot see into.

` + "`validate`" + ` checks all this as well. Loading a configuration checks the routes.

The exit status is 0 when there is no error and 1 otherwise, so that a build can
depend on it.
`,
		Example: `  consentgate policy coverage
  consentgate policy coverage --config /etc/consentgate/Caddyfile
  consentgate policy coverage --config caddy.json --json`,
		Args: cobra.NoArgs,
	}
	config := cmd.Flags().StringP("config", "c", "", "the configuration; default: ./Caddyfile")
	adapter := cmd.Flags().StringP("adapter", "a", "", "the name of the config adapter, where the file is neither a Caddyfile nor JSON")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		cov, err := loadCoverage(*config, *adapter)
		if err != nil {
			return err
		}
		cov.checkBorders(cmd.Context(), net.DefaultResolver, cmd.ErrOrStderr())
		if *asJSON {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			err = enc.Encode(cov)
		} else {
			err = cov.print(cmd.OutOrStdout())
		}
		if err != nil {
			return err
		}
		switch n := len(cov.Errors); n {
		case 0:
			return nil
		case 1:
			return errors.New("1 error")
		default:
			return fmt.Errorf("%d errors", n)
		}
	}
	return cmd
}

// loadCoverage reads a configuration as Caddy's own commands do.
func loadCoverage(config, adapter string) (*coverage, error) {
	b, _, _, err := caddycmd.LoadConfig(config, adapter)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, errors.New("no configuration: there is no Caddyfile in this directory; name one with --config")
	}
	return coverageOf(b)
}

// print writes the table, and below it what is wrong.
func (c *coverage) print(out io.Writer) error {
	var b bytes.Buffer
	if len(c.Routes) == 0 {
		b.WriteString("No route reaches an upstream.\n")
	} else {
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "LISTENER\tROUTE\tUPSTREAM\tRECIPIENT\tPURPOSES\tMODE\tVERDICT")
		for _, r := range c.Routes {
			recipients, purposes, modes := "-", "-", "-"
			for i, g := range r.Gates {
				mode, uses := g.Mode, strings.Join(g.Purposes, " ")
				if mode == "" {
					mode = "enforce"
				}
				if uses == "" {
					uses = "all"
				}
				if i == 0 {
					recipients, purposes, modes = g.who(), uses, mode
					continue
				}
				recipients, purposes, modes = recipients+" + "+g.who(), purposes+" + "+uses, modes+" + "+mode
			}
			fmt.Fprintln(table, strings.Join([]string{r.Listen, r.Route, r.Upstream, recipients, purposes, modes, r.Verdict}, "\t"))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for _, name := range c.Unseen {
		fmt.Fprintf(&b, "\nwarning: cannot see into %s: whether it reaches an upstream is for you to know\n", name)
	}
	for _, text := range c.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s\n", text)
	}
	for _, text := range c.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", text)
	}
	for _, p := range c.Errors {
		fmt.Fprintf(&b, "\nerror: %s\n", p.Message)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// extendValidate makes Caddy's `validate` fail on all that `policy coverage`
// fails on. What Caddy validates by itself are modules, and no module sees the
// logs; and one without this app, where there is none.
//
// Caddy offers no way to replace or wrap a command, but cobra runs initialisers
// once a command is chosen and before it runs, with the whole tree in reach.
func extendValidate(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() != "validate" || cmd.RunE == nil || cmd.Annotations[coverageAnnotation] != "" {
			continue
		}
		cmd.Annotations = map[string]string{coverageAnnotation: "yes"}
		cmd.RunE = validateWithCoverage(cmd.RunE)
	}
}

const coverageAnnotation = "consentgate.coverage"

func validateWithCoverage(validate func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		config, err := cmd.Flags().GetString("config")
		if err != nil {
			return err
		}
		adapter, err := cmd.Flags().GetString("adapter")
		if err != nil {
			return err
		}
		if config == "-" { // read twice: by Caddy, and for the coverage
			file, err := keepStdin()
			if err != nil {
				return err
			}
			stdin := os.Stdin
			os.Stdin = file
			defer func() {
				os.Stdin = stdin
				_ = file.Close()
				_ = os.Remove(file.Name())
			}()
		}
		if err := validate(cmd, args); err != nil {
			return err
		}
		if config == "-" {
			if _, err := os.Stdin.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
		cov, err := loadCoverage(config, adapter)
		if err != nil {
			return err
		}
		if err := cov.err(); err != nil {
			return fmt.Errorf("valid for Caddy alone: %w", err)
		}
		return nil
	}
}

// keepStdin copies the standard input to a file, to be read twice.
func keepStdin() (*os.File, error) {
	file, err := os.CreateTemp("", "consentgate-config-")
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(file, os.Stdin); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
		return nil, err
	}
	return file, nil
}
