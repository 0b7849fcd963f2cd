package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/consentgate/consentgate/rules"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "policy",
		Usage: "check|coverage|retire|schema",
		Short: "Works with policies: checks them and what they cover, prints their JSON Schema, ends them",
		Long: `
A policy is one YAML file. It says which kinds of personal data there are, why
they are processed, on what basis, and what each recipient gets of them. The
gateway enforces it, and reads it again when it changes.

check, coverage and schema work on files alone: no server need be running. retire erases
what every subject has decided, at the end of the service.
`,
		CobraFunc: func(cmd *cobra.Command) {
			// Without this a misspelt subcommand would print the help and succeed.
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				cmd.SilenceUsage = true
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					return fmt.Errorf("there is no command policy %s: did you mean %s?", args[0], near[0])
				}
				return fmt.Errorf("there is no command policy %s: they are check, coverage, retire and schema", args[0])
			}
			cmd.SuggestionsMinimumDistance = 2
			cmd.AddCommand(policyCheckCommand(), policyCoverageCommand(), policySchemaCommand(), policyRetireCommand())
			cobra.OnInitialize(func() { extendValidate(cmd.Root()) })
		},
	})
}

func policyCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE [--against OLD]",
		Short: "Names every problem of a policy",
		Long: `
Reads a policy with all that it includes, and prints every problem as
FILE:LINE:COLUMN: what is wrong, and what to write instead. Without a problem it
prints nothing of them and says so in one line.

With --against it also compares the policy with the one that subjects have
accepted so far. A purpose that now uses more, or a recipient that is new, needs
a new version in ` + "`since`" + `, or people's old consent would count for what they
were never asked.

The exit status is 0 for a policy that may be used and 1 otherwise, so that a
build can depend on it.
`,
		Example: `  consentgate policy check rules/policies/liaoxiaobang.yaml
  consentgate policy check policy.yaml --against released/policy.yaml`,
		Args: cobra.ExactArgs(1),
	}
	against := cmd.Flags().String("against", "", "the policy that is in force so far")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		problems, err := rules.CheckFile(args[0], *against)
		if err != nil {
			return fmt.Errorf("the policy to compare with is itself not valid:\n%w", err)
		}
		for _, p := range problems {
			fmt.Fprintln(cmd.OutOrStdout(), p)
		}
		switch n := len(problems); n {
		case 0:
			fmt.Fprintf(cmd.OutOrStdout(), "%s: no problems\n", filepath.ToSlash(args[0]))
			return nil
		case 1:
			return errors.New("1 problem")
		default:
			return fmt.Errorf("%d problems", n)
		}
	}
	return cmd
}

func policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of the rule language",
		Long: `
Prints the JSON Schema of the rule language, with which editors complete and
check policies while they are written. For editors that use the YAML language
server, save it and name it in the first line of a policy:

  # yaml-language-server: $schema=schema.json

The schema knows the form of a policy. Whether what it says makes sense is for
` + "`policy check`" + `.
`,
		Example: `  consentgate policy schema > schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			schema, err := fs.ReadFile(rules.Embedded, "schema.json")
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}
