package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/boltstore"
)

// shownFailures is how many subjects that could not be cancelled are named.
const shownFailures = 20

// retirement is the command that ends a service.
type retirement struct {
	config  string
	adapter string
	confirm string
	dryRun  bool

	out, progress io.Writer
	every         time.Duration // between two lines of progress
	now           func() time.Time
}

func policyRetireCommand() *cobra.Command {
	r := &retirement{every: time.Second, now: time.Now}
	cmd := &cobra.Command{
		Use:   "retire --config FILE [--adapter NAME] --confirm POLICY [--dry-run]",
		Short: "Cancels every subject, at the end of the service",
		Long: `
Cancels every subject in the store of a configuration, as
DELETE /consent/v1/subjects/{id} does for one: the grants, the salts and the
links are gone, so that what partners hold can no longer be linked to anyone. A
tombstone and the ledger stay, as proof; its last entry names the channel
"retire". This cannot be undone, so --confirm has to repeat the policy's id.

The embedded store belongs to a gateway while that runs: stop it first. With
Redis gateways may go on, and see each subject cancelled at once; but as long as
they take new decisions there is no end to it, so stop those that serve the
consent API.

A line of progress goes to the standard error every second. The command may be
killed at any point: run it again, and it skips whoever is cancelled. The exit
status is 0 when nobody is left.
`,
		Example: `  consentgate policy retire --config Caddyfile --dry-run
  consentgate policy retire --config Caddyfile --confirm liaoxiaobang`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&r.config, "config", "c", "", "the configuration of the gateway")
	cmd.Flags().StringVarP(&r.adapter, "adapter", "a", "", "the name of the config adapter")
	cmd.Flags().StringVar(&r.confirm, "confirm", "", "the id of the policy whose subjects are to be cancelled")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "count them, and write nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		r.out, r.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		return r.run(ctx)
	}
	return cmd
}

func (r *retirement) run(ctx context.Context) error {
	raw, err := r.readConfig()
	if err != nil {
		return err
	}
	provisioning, cancel := caddy.NewContext(caddy.Context{Context: ctx})
	defer cancel()
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(raw, app); err != nil {
		return fmt.Errorf("the app consent of the configuration: %w", err)
	}
	if err := app.Provision(provisioning); err != nil {
		return err
	}
	policy := app.loaded.Policy
	if !r.dryRun && r.confirm != policy.ID() {
		return fmt.Errorf("nothing is done: every subject of the policy %q would be cancelled, which cannot be undone. If that is meant, say --confirm and the policy's id", policy.ID())
	}
	store, identifier, err := app.openToRetire()
	if err != nil {
		return err
	}
	service := consent.NewService(store, func() consent.Policy { return policy }, identifier, time.Now, nil)
	if r.dryRun {
		err = r.survey(ctx, service)
	} else {
		err = r.retire(ctx, service, policy.ID())
	}
	return errors.Join(err, store.Close())
}

// readConfig reads the configuration as Caddy would, and returns that of the
// app. The others are not needed: no listener, no certificate, no module that
// has an effect outside.
func (r *retirement) readConfig() (json.RawMessage, error) {
	cfg, _, _, err := caddycmd.LoadConfig(r.config, r.adapter)
	if err != nil {
		return nil, err
	}
	if len(cfg) == 0 {
		return nil, errors.New("no configuration; name the gateway's with --config")
	}
	var c struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(cfg, &c); err != nil {
		return nil, fmt.Errorf("the configuration is no JSON; for another format, name its --adapter: %w", err)
	}
	raw := c.Apps["consent"]
	if raw == nil {
		return nil, errors.New("the configuration has no global option consent, so it says nothing of a store")
	}
	return raw, nil
}

// openToRetire opens the app's store, and makes neither a store nor a secret.
func (a *App) openToRetire() (consent.Store, *consent.Identifier, error) {
	if m, ok := a.store.(interface{ HasData() bool }); ok && !m.HasData() {
		return nil, nil, fmt.Errorf("%s holds no consent store; does this configuration mean another directory?", a.store.Dir())
	}
	secret, err := rootSecret(a.store, a.secret)
	if err != nil {
		return nil, nil, err
	}
	identifier, err := consent.NewIdentifier(secret)
	if err != nil {
		return nil, nil, err
	}
	store, err := a.store.Open(nil)
	if errors.Is(err, boltstore.ErrLocked) {
		err = fmt.Errorf("%w Stop the gateway first", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening the consent store: %w", err)
	}
	return consent.Bind(store, identifier.Check(), nil), identifier, nil
}

func (r *retirement) survey(ctx context.Context, service *consent.Service) error {
	alive, cancelled, err := service.Survey(ctx)
	if err != nil {
		return fmt.Errorf("after %d subjects: %w", alive+cancelled, err)
	}
	fmt.Fprintf(r.out, "%d subjects would be cancelled; %d are already. Nothing was written.\n", alive, cancelled)
	return nil
}

func (r *retirement) retire(ctx context.Context, service *consent.Service, policy string) error {
	var shown int
	last := r.now()
	done, err := service.RetireAll(ctx, func(id consent.ID, err error) {
		if shown++; shown <= shownFailures {
			fmt.Fprintf(r.progress, "%s: %v\n", id, err)
		}
	}, func(so consent.Retired) {
		if now := r.now(); now.Sub(last) >= r.every {
			last = now
			fmt.Fprintf(r.progress, "%d cancelled, %d were already, %d failed\n", so.Cancelled, so.Before, so.Failed)
		}
	})
	const again = "run the command again to go on"
	switch {
	case errors.Is(err, consent.ErrStillRecording):
		return fmt.Errorf("%d subjects cancelled, but %w: stop the gateways that serve the consent API, and %s", done.Cancelled, err, again)
	case err != nil:
		return fmt.Errorf("%d subjects cancelled, and then: %w; %s", done.Cancelled, err, again)
	case done.Failed > 0:
		return fmt.Errorf("%d subjects cancelled, and %d could not be; %s", done.Cancelled, done.Failed, again)
	}
	fmt.Fprintf(r.out, "%s is retired: %d subjects cancelled, %d were already. Their tombstones and ledgers stay.\n", policy, done.Cancelled, done.Before)
	return nil
}
