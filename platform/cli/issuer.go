package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/auth"
	"cleave/platform/module"
)

// maxGiven is more than any token that is accepted, in bytes.
const maxGiven = 64 << 10

// bearer is what `app issuer explain` prints: whom a token stands for.
type bearer struct {
	Issuer        string    `json:"issuer"`
	IssuerSubject string    `json:"issuer_subject"` // as the issuer calls it
	Subject       string    `json:"subject"`        // as we do
	Roles         string    `json:"roles"`
	Scopes        string    `json:"scopes"` // "": not limited
	Expires       time.Time `json:"expires"`
}

func (a *app) issuer() *cobra.Command {
	group := &cobra.Command{
		Use: "issuer", Short: "See what outside issuers are good for",
		Long: "See what the outside issuers of auth.issuers are good for. A server tells a client no more than that a token is not valid.",
	}
	explain := &cobra.Command{
		Use: "explain", Short: "Read a token from standard input, and print whom it stands for here, or why it is refused (exit code 1)",
		RunE: func(c *cobra.Command, _ []string) error {
			issuers, err := a.issuers()
			if err != nil {
				return err
			}
			text, err := io.ReadAll(io.LimitReader(a.In, maxGiven))
			if err != nil {
				return fmt.Errorf("read the token: %w", err)
			}
			p, err := issuers.Verify(c.Context(), strings.TrimSpace(string(text)))
			if err != nil {
				return err
			}
			return a.print(bearer{p.Issuer, p.IssuerSubject, p.Subject, strings.Join(p.Roles, " "), strings.Join(p.Scopes, " "), p.Expires.UTC()})
		},
	}
	subject := &cobra.Command{
		Use: "subject ISSUER SUBJECT", Short: "Print the id that a user of an outside issuer has here", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.print(auth.SubjectOf(args[0], args[1])) },
	}
	group.AddCommand(explain, subject)
	return group
}

func (a *app) issuers() (*auth.Issuers, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	p, err := a.decider()
	if err != nil {
		return nil, err
	}
	return module.OutsideIssuers(cfg, p, module.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
}
